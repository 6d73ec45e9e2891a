"""Views of alert rules and their firings. Firings have no edit: they are answered."""

from typing import Any

from sqlalchemy import ColumnElement, func, select

from admin.actions import ALERT_EVENTS, ALERTS
from admin.records import RecordView, Related
from admin.rendering import show
from admin.translating import gettext, word
from domain.alerts.models import Alert, AlertEvent
from domain.market.models import Instrument

_CATEGORY = "Alerts"


class AlertView(RecordView, model=Alert):
    """Rules."""

    name, name_plural, path = "Alert", "Alerts", "alerts"
    powers = ("answer",)
    panel = "panels/alert.html"
    category = _CATEGORY
    about = "Rules that watch values. They fire once a crossing, bar or day, and never twice."
    columns = (
        "name",
        "instrument",
        "alert_type",
        "condition",
        "threshold",
        "status",
        "trigger_mode",
        "last_value",
        "last_triggered_at",
        "user",
    )
    order = (Alert.id,)
    is_found_by_name = True
    bulk_actions = ALERTS
    search = (Alert.name,)
    search_hint = "Name begins with…, or symbol is…"
    filters = ("status", "condition", "trigger_mode", "severity")
    keys = ("instrument_id", "portfolio_id", "position_id", "user_id")
    pickers = ("user_id",)
    list_editable = ("threshold",)
    editable = (
        "name",
        "condition",
        "threshold",
        "threshold_high",
        "hysteresis",
        "trigger_mode",
        "cooldown_seconds",
        "sustain_seconds",
        "expires_at",
        "snoozed_until",
        "severity",
        "channels",
        "conditions",
        "message_template",
    )
    creatable = (
        "user_id",
        "name",
        "alert_type",
        "condition",
        "instrument_id",
        "portfolio_id",
        "threshold",
        "threshold_high",
        "hysteresis",
        "trigger_mode",
        "cooldown_seconds",
        "expires_at",
        "severity",
        "channels",
        "message_template",
    )
    is_deletable = True
    related = (Related("Firings", "alert-events", "alert_id", same=("user_id",), is_shown=True),)

    def heading(self, record: Any) -> str:
        """Return ``Breakout: AAPL price crosses above 190``."""
        what = [record.instrument, record.alert_type, record.condition]
        rule = " ".join(word(str(part)) for part in what if part is not None)
        limits = [record.threshold, record.threshold_high]
        shown = gettext(" to ").join(show(limit).text for limit in limits if limit is not None)
        return f"{record.name}: {rule} {shown}".rstrip()

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for names in any case, or rules on this symbol."""
        wanted = text.strip()
        named = func.lower(Alert.name).startswith(wanted.lower(), autoescape=True)
        symbol = select(Instrument.id).where(Instrument.symbol == wanted.upper())
        return named | Alert.instrument_id.in_(symbol)


class AlertEventView(RecordView, model=AlertEvent):
    """Firings."""

    name, name_plural, path = "Alert event", "Alert events", "alert-events"
    powers = ("answer",)
    panel = "panels/alert_event.html"
    category = _CATEGORY
    about = "Firings of rules, and what programs reported. What happened is never edited."
    columns = (
        "triggered_at",
        "severity",
        "title",
        "message",
        "instrument",
        "observed_value",
        "acknowledged",
        "user",
    )
    order = (AlertEvent.triggered_at, AlertEvent.id)
    bulk_actions = ALERT_EVENTS
    filters = ("severity", "acknowledged")
    keys = ("alert_id", "instrument_id", "user_id")
    pickers = ("instrument_id", "user_id")
    hint_about = "An active rule fires when a value that is evaluated meets it."
    hint = "evaluate(unit, observations)"
    time_column = "triggered_at"
    prose = ("message",)


VIEWS = (AlertView, AlertEventView)
