"""Lets rules see values: one statement for any number of observations and rules.

It locks the rules that look at what is observed, folds the observations into their states, stores
what fired and tells the outbox. Concurrent evaluations of one value give exactly one event. What
the decisions are: `domain.alerts.matching`. Where values come from: `domain.alerts.observing`.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import ARRAY, DateTime, Numeric, Text, Uuid, bindparam, select, text

from domain.alerts.matching import Observation
from domain.alerts.models import AlertEvent
from domain.alerts.terms import Condition
from domain.alerts.wording import default_template
from domain.clock import as_utc, now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.messaging.messages import AlertTriggered, topic_of
from domain.money import checked

MOST_AHEAD: Final = timedelta(minutes=5)
"""How far an observation's instant may lie ahead of our clock."""

_TOPIC: Final = topic_of(AlertTriggered)
_LONGEST_KEY: Final = 100
_INSTANT: Final = DateTime(timezone=True)
_COLUMNS: Final[dict[str, Any]] = {
    "alert_type": Text(),
    "subject_id": Uuid(),
    "alert_id": Uuid(),
    "value": Numeric(),
    "previous": Numeric(),
    "at": _INSTANT,
    "bar_at": _INSTANT,
    "key": Text(),
    "note": Text(),
}
_STATEMENT: Final = text((files("domain.alerts") / "evaluating.sql").read_text()).bindparams(
    *(bindparam(name, type_=ARRAY(kind, dimensions=1)) for name, kind in _COLUMNS.items()),
    bindparam("tenant", type_=Uuid()),
)
_LOOPS: Final = text("SELECT set_config('enable_nestloop', :setting, true)")
_TEMPLATES: Final = json.dumps({str(item): default_template(item) for item in Condition})


async def evaluate(unit: UnitOfWork, observations: Sequence[Observation]) -> Sequence[AlertEvent]:
    """Show values to the rules that watch them and return the events of those that fired.

    A tenant's unit reaches its own rules, a system unit everybody's. The rules stay locked until
    the transaction ends, so let it end soon. At READ COMMITTED, the default.

    Args:
        unit: A transaction.
        observations: In any order; of several values of one thing at one instant the last counts.

    Returns:
        The new events in the order of their instants.

    Raises:
        InvalidData: A value is a float, NaN or out of range, an instant is naive or more than
            five minutes ahead of the clock, or a key is empty or longer than 100 characters.
    """
    if not observations:
        return []
    latest = now() + MOST_AHEAD
    rows = [_row(seen, latest) for seen in observations]
    parameters: dict[str, Any] = {name: [row[name] for row in rows] for name in _COLUMNS}
    parameters |= {
        "tenant": unit.user_id,
        "templates": _TEMPLATES,
        "topic": topic_of(AlertTriggered),
    }
    # Rules that the session has changed but not sent would be judged as they were.
    await unit.flush()
    events = select(AlertEvent).from_statement(_STATEMENT)
    await unit.session.execute(_LOOPS, {"setting": "off"})
    fired = (await unit.session.scalars(events, parameters)).all()
    await unit.session.execute(_LOOPS, {"setting": "on"})
    return fired


def _row(seen: Observation, latest: Any) -> dict[str, Any]:
    at = as_utc(seen.at, "at")
    if at > latest:
        raise InvalidData("at", at.isoformat(), "not lie ahead of the clock")
    if seen.key is not None and not 0 < len(seen.key) <= _LONGEST_KEY:
        raise InvalidData("key", seen.key, f"be 1 to {_LONGEST_KEY} characters")
    for name in ("alert_type", "key", "note"):
        if "\x00" in (getattr(seen, name) or ""):
            raise InvalidData(name, getattr(seen, name), "hold no NUL character")
    return {
        "alert_type": seen.alert_type,
        "subject_id": seen.subject_id,
        "alert_id": seen.alert_id,
        "value": checked(seen.value, "value"),
        "previous": None if seen.previous is None else checked(seen.previous, "previous"),
        "at": at,
        "bar_at": None if seen.bar_at is None else as_utc(seen.bar_at, "bar_at"),
        "key": seen.key,
        "note": seen.note,
    }
