"""Where values come from: prices, days to an event, short options, articles.

Each function reads what rules ask for, and shows it to them with `evaluate`. Values that only
the caller has, such as greeks, are shown by calling `evaluate` itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, exists, select, text

from domain.alerts.evaluating import evaluate
from domain.alerts.matching import ArticleSeen, Observation, matches
from domain.alerts.models import Alert, AlertEvent
from domain.alerts.terms import ASSIGNMENT_RISK, DTE, EARNINGS, NEWS, PRICE, AlertStatus
from domain.clock import now
from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.market.models import Instrument, LatestPrice

_ONE: Final = Decimal(1)
_ROOM: Final = files("domain.alerts")
_EXPIRIES: Final = text((_ROOM / "expiries.sql").read_text()).bindparams(
    bindparam("tenant", type_=Uuid()), bindparam("kind", type_=Text())
)
_SHORT_OPTIONS: Final = text((_ROOM / "short_options.sql").read_text()).bindparams(
    bindparam("tenant", type_=Uuid()), bindparam("kind", type_=Text())
)


async def observe_prices(
    unit: UnitOfWork, instrument_ids: Iterable[UUID] | None = None
) -> Sequence[AlertEvent]:
    """Show the newest prices to the price rules of their instruments.

    Args:
        unit: A transaction.
        instrument_ids: Only these; default: all that a rule watches.
    """
    watched = exists().where(
        Alert.subject_id == LatestPrice.instrument_id,
        Alert.alert_type == PRICE,
        Alert.status == AlertStatus.ACTIVE,
    )
    statement = select(LatestPrice.instrument_id, LatestPrice.price, LatestPrice.time)
    if instrument_ids is not None:
        statement = statement.where(LatestPrice.instrument_id == any_of(instrument_ids))
    found = await unit.session.execute(statement.where(watched))
    return await evaluate(
        unit,
        [
            Observation(alert_type=PRICE, instrument_id=instrument_id, value=price, at=time)
            for instrument_id, price, time in found
        ],
    )


async def observe_expiries(
    unit: UnitOfWork, on: date, *, at: datetime | None = None
) -> Sequence[AlertEvent]:
    """Show the days until contracts expire to the ``dte`` rules.

    A rule on a contract sees it, one on a position the contract held. A rule on a portfolio or an
    underlying sees what expires first among the open positions in it.

    Args:
        unit: A transaction.
        on: The day where the contracts trade: in New York it is still yesterday at 3:00 UTC.
        at: Instant of the observation; default: now.

    Returns:
        The new events. Days are calendar days; 0 is the last trading day, -1 the day after it.
    """
    return await _observe(unit, _EXPIRIES, DTE, {"on": on, "at": at})


async def observe_assignment_risk(
    unit: UnitOfWork, on: date, *, at: datetime | None = None
) -> Sequence[AlertEvent]:
    """Show how far short options are in the money to the ``assignment_risk`` rules.

    The value is what exercising would bring a unit of the underlying, at its newest price:
    negative while out of the money. A portfolio's rule sees the worst of its short options. With
    ``within_days`` among its conditions a rule sees contracts that expire within so many days.

    Args:
        unit: A transaction.
        on: The day where the contracts trade.
        at: Instant of the observation; default: now.
    """
    return await _observe(unit, _SHORT_OPTIONS, ASSIGNMENT_RISK, {"on": on, "at": at})


async def _observe(
    unit: UnitOfWork, statement: Any, kind: str, when: Mapping[str, Any]
) -> Sequence[AlertEvent]:
    found = await unit.session.execute(
        statement, {"tenant": unit.user_id, "kind": kind, "on": when["on"]}
    )
    at = when["at"] or now()
    return await evaluate(
        unit,
        [
            Observation(alert_type=kind, alert_id=row[0], value=row[1], at=at, note=row[2])
            for row in (tuple(item) for item in found)
        ],
    )


async def observe_days_until(
    unit: UnitOfWork, days: Mapping[UUID, date], on: date, *, alert_type: str = EARNINGS
) -> Sequence[AlertEvent]:
    """Show the days until an event of each instrument to the rules of that kind.

    Args:
        unit: A transaction.
        days: The day of the event by instrument, for example of the next earnings report.
        on: Today, where the instrument trades.
        alert_type: Which rules look at it.
    """
    at = now()
    return await evaluate(
        unit,
        [
            Observation(
                alert_type=alert_type,
                instrument_id=instrument_id,
                value=Decimal((day - on).days),
                at=at,
                note=f"on {day.isoformat()}",
            )
            for instrument_id, day in days.items()
        ],
    )


async def observe_articles(
    unit: UnitOfWork, articles: Sequence[ArticleSeen]
) -> Sequence[AlertEvent]:
    """Show articles to the news rules; an article fires a rule once, however often it is shown.

    A rule on an instrument sees the articles about it, one without sees all of them; its
    ``conditions`` narrow them further (`domain.alerts.matching.check_conditions`).

    Args:
        unit: A transaction.
        articles: In any order; they may be older than others seen before.
    """
    if not articles:
        return []
    rules = select(Alert.id, Alert.instrument_id, Alert.conditions).where(
        Alert.alert_type == NEWS, Alert.status == AlertStatus.ACTIVE
    )
    if unit.user_id is not None:
        rules = rules.where(Alert.user_id == unit.user_id)
    watching = (await unit.session.execute(rules)).all()
    return await evaluate(
        unit,
        [
            Observation(
                alert_type=NEWS,
                alert_id=alert_id,
                value=_ONE,
                at=article.at,
                key=article.key,
                note=article.title,
            )
            for alert_id, instrument_id, conditions in watching
            for article in articles
            if instrument_id is None or instrument_id in article.instrument_ids
            if matches(conditions, article)
        ],
    )


async def instruments_watched(unit: UnitOfWork, alert_type: str = PRICE) -> Sequence[Instrument]:
    """Return the instruments that active rules of a kind watch: what a feed should subscribe to."""
    watching = select(Alert.instrument_id).where(
        Alert.alert_type == alert_type, Alert.status == AlertStatus.ACTIVE
    )
    statement = select(Instrument).where(Instrument.id.in_(watching)).order_by(Instrument.symbol)
    return (await unit.session.scalars(statement)).all()
