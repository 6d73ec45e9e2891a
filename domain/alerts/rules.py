"""What people do with rules: define, snooze, pause, resume, cancel. Watching them is elsewhere."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import update

from domain.alerts.matching import Rule, State, check_conditions
from domain.alerts.models import Alert
from domain.alerts.repositories import AlertRepository
from domain.alerts.terms import RANGES, AlertStatus, Channel, Condition
from domain.clock import as_utc, now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.models import Instrument

_LONGEST_NAME: Final = 100
# A rule that starts again has seen nothing: what happened while it slept is not a crossing.
_AFRESH: Final[dict[str, Any]] = {
    "status": AlertStatus.ACTIVE,
    "is_armed": True,
    "last_value": None,
    "condition_since": None,
    "snoozed_until": None,
}


async def define_alert(
    unit: UnitOfWork,
    name: str,
    alert_type: str,
    *,
    condition: Condition | str,
    **values: Any,
) -> Alert:
    """Make a rule for the unit's tenant; staff and jobs add ``user_id``.

    Args:
        unit: A transaction.
        name: What the user calls it, 1 to 100 characters.
        alert_type: Kind of value, such as ``price`` or ``delta``; any word.
        condition: When a value makes it true.
        **values: Other columns of `Alert` by name; ``instrument`` may stand for ``instrument_id``,
            ``cooldown`` and ``sustain`` (durations) for the columns in seconds.

    Raises:
        InvalidData: The limits do not fit the condition, a template names an unknown field, or a
            value breaks its rule; the error names the field.
    """
    if unit.user_id is not None:
        values.setdefault("user_id", unit.user_id)
    instrument: Instrument | None = values.pop("instrument", None)
    if instrument is not None:
        values["instrument_id"] = instrument.id
    for field in ("cooldown", "sustain"):
        if field in values:
            values[f"{field}_seconds"] = _seconds(field, values.pop(field))
    alert = Alert(name=name, alert_type=alert_type, condition=_condition(condition), **values)
    check_rule(alert)
    unit.repository(AlertRepository).add(alert)
    await unit.flush()
    return alert


def check_rule(alert: Alert) -> None:
    """Refuse a rule that could not be watched.

    Raises:
        InvalidData: It names the field, its value and what is wrong.
    """
    if not 1 <= len(alert.name) <= _LONGEST_NAME:
        raise InvalidData("name", alert.name, f"be 1 to {_LONGEST_NAME} characters")
    if alert.hysteresis < 0:
        raise InvalidData("hysteresis", alert.hysteresis, "not be negative")
    for field in ("cooldown_seconds", "sustain_seconds"):
        if getattr(alert, field) < 0:
            raise InvalidData(field, getattr(alert, field), "not be negative")
    unknown = set(alert.channels) - set(Channel)
    if unknown:
        raise InvalidData("channels", sorted(unknown), f"be among {', '.join(Channel)}")
    _check_limits(alert)
    check_conditions(alert.conditions)


def _check_limits(alert: Alert) -> None:
    if alert.condition is Condition.CUSTOM:
        return
    low, high = alert.threshold, alert.threshold_high
    if low is None:
        raise InvalidData("threshold", None, f"be given for {alert.condition}")
    if alert.condition in RANGES and (high is None or high <= low):
        raise InvalidData("threshold_high", high, "be given and lie above threshold")
    if alert.condition is Condition.PCT_CHANGE and low <= 0:
        raise InvalidData("threshold", low, "be a positive percentage")
    room = {
        Condition.OUTSIDE: ((high or low) - low) / 2,
        Condition.PCT_CHANGE: low,
    }.get(alert.condition)
    if room is not None and alert.hysteresis > room:
        raise InvalidData("hysteresis", alert.hysteresis, f"be at most {room}: else it never arms")


async def snooze(unit: UnitOfWork, alert_id: UUID, *, until: datetime | None) -> Alert:
    """Keep a rule silent before `until`; None ends the silence.

    Values are still followed: a level that holds when the silence ends fires then.

    Raises:
        NotFound: No such rule of this tenant.
    """
    ends = None if until is None else as_utc(until, "until")
    return await unit.repository(AlertRepository).patch(alert_id, snoozed_until=ends)


async def pause(unit: UnitOfWork, alert_id: UUID) -> Alert:
    """Stop watching until `resume`."""
    return await unit.repository(AlertRepository).patch(alert_id, status=AlertStatus.PAUSED)


async def resume(unit: UnitOfWork, alert_id: UUID) -> Alert:
    """Watch a rule again that was paused, fired once, cancelled or expired.

    It starts afresh: armed, and without memory of the values before. Its firings stay counted.

    Raises:
        InvalidData: Its end lies in the past: give it another ``expires_at`` first.
    """
    repository = unit.repository(AlertRepository)
    alert = await repository.get(alert_id)
    if alert.expires_at is not None and alert.expires_at <= now():
        raise InvalidData("expires_at", alert.expires_at.isoformat(), "lie ahead to be resumed")
    if alert.status is AlertStatus.ACTIVE:
        return alert
    return await repository.patch(alert_id, **_AFRESH)


async def cancel(unit: UnitOfWork, alert_id: UUID) -> Alert:
    """End a rule; its history stays."""
    return await unit.repository(AlertRepository).patch(alert_id, status=AlertStatus.CANCELLED)


async def expire_due(unit: UnitOfWork, at: datetime) -> int:
    """Mark rules whose end has come by `at` and that no value reminded; return how many."""
    due = (
        update(Alert)
        .where(Alert.status == AlertStatus.ACTIVE, Alert.expires_at <= as_utc(at, "at"))
        .values(status=AlertStatus.EXPIRED)
    )
    if unit.user_id is not None:
        due = due.where(Alert.user_id == unit.user_id)
    result = await unit.session.execute(due, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE's cursor result


def rule_of(alert: Alert) -> Rule:
    """Return what people set, for `domain.alerts.matching`."""
    return Rule(
        condition=alert.condition,
        threshold=alert.threshold,
        threshold_high=alert.threshold_high,
        hysteresis=alert.hysteresis,
        trigger_mode=alert.trigger_mode,
        cooldown=timedelta(seconds=alert.cooldown_seconds),
        sustain=timedelta(seconds=alert.sustain_seconds),
        expires_at=alert.expires_at,
        snoozed_until=alert.snoozed_until,
    )


def state_of(alert: Alert) -> State:
    """Return where the watching stands, for `domain.alerts.matching`."""
    return State(
        status=alert.status,
        is_armed=alert.is_armed,
        last_value=alert.last_value,
        last_evaluated_at=alert.last_evaluated_at,
        condition_since=alert.condition_since,
        last_triggered_at=alert.last_triggered_at,
        last_period_at=alert.last_period_at,
        trigger_count=alert.trigger_count,
    )


def _condition(word: Condition | str) -> Condition:
    try:
        return Condition(word)
    except ValueError:
        raise InvalidData("condition", word, f"be one of {', '.join(Condition)}") from None


def _seconds(field: str, span: Any) -> int:
    if not isinstance(span, timedelta) or span < timedelta(0) or span.microseconds:
        raise InvalidData(field, span, "be a duration of whole seconds, not negative")
    return int(span.total_seconds())
