"""The demo's alert rules, shown half a year of real closes and the invented articles."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from domain.alerts.evaluating import evaluate
from domain.alerts.events import acknowledge_many, report
from domain.alerts.matching import ArticleSeen, Observation
from domain.alerts.models import AlertEvent
from domain.alerts.observing import observe_articles
from domain.alerts.rules import define_alert, pause
from domain.alerts.terms import NEWS, PRICE, Severity
from domain.database import Worker
from domain.demo.files import DailyBar
from domain.identity.models import User
from domain.news.models import Article, ArticleInstrument

# After Apple's split: its bars before are in other units.
_FROM: Final = date(2020, 9, 1)
_SEEN_UNTIL: Final = datetime(2021, 3, 1, tzinfo=UTC)
_CLOSE: Final = timedelta(hours=20)

_RULES: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        "Apple breaks out",
        "AAPL",
        {
            "condition": "crosses_above",
            "threshold": Decimal(130),
            "hysteresis": Decimal(3),
            "trigger_mode": "every",
            "channels": ["email", "push"],
            "message_template": "{symbol} closed at {value}, above {threshold}",
        },
    ),
    (
        "The market moves",
        "SPY",
        {
            "condition": "pct_change",
            "threshold": Decimal(2),
            "trigger_mode": "once_per_day",
            "severity": Severity.WARNING,
            "channels": ["slack"],
        },
    ),
    (
        "Oil leaves its range",
        "USO",
        {
            "condition": "outside",
            "threshold": Decimal(28),
            "threshold_high": Decimal(42),
            "hysteresis": Decimal(1),
            "trigger_mode": "every",
            "cooldown": timedelta(days=5),
        },
    ),
    ("Buy IBM cheaper", "IBM", {"condition": "below", "threshold": Decimal(110)}),
    ("Alphabet at 2,500", "GOOG", {"condition": "above", "threshold": Decimal(2500)}),
)


async def load(
    unit: Worker, user: User, bars: Sequence[DailyBar], articles: Sequence[Article]
) -> None:
    """Make the rules of `user`, let them see what there is, and acknowledge what is old."""
    ids = await _define(unit, user)
    closes = [bar for bar in bars if bar.symbol in ids and bar.day >= _FROM]
    fired = list(await evaluate(unit, list(_observations(closes, ids))))
    fired += await observe_articles(unit, [await _seen(unit, article) for article in articles])
    old = [event.id for event in fired if event.triggered_at < _SEEN_UNTIL]
    await acknowledge_many(unit, old, by=user.id)
    await _report(unit, fired)


async def _define(unit: Worker, user: User) -> dict[str, Any]:
    ids = {}
    for name, symbol, values in _RULES:
        (instrument,) = await unit.instruments.by_symbol(symbol)
        ids[symbol] = instrument.id
        rule = await define_alert(
            unit, name, PRICE, instrument=instrument, user_id=user.id, **values
        )
        if symbol == "GOOG":
            await pause(unit, rule.id)
    await define_alert(
        unit,
        "Rates in the news",
        NEWS,
        condition="custom",
        trigger_mode="every",
        conditions={"keywords": ["rates", "hike"]},
        user_id=user.id,
    )
    return ids


def _observations(closes: Sequence[DailyBar], ids: dict[str, Any]) -> list[Observation]:
    before: dict[str, Decimal] = {}
    found = []
    for bar in closes:
        found.append(
            Observation(
                alert_type=PRICE,
                instrument_id=ids[bar.symbol],
                value=bar.close,
                previous=before.get(bar.symbol),
                at=bar.starts_at + _CLOSE,
                bar_at=bar.starts_at,
            )
        )
        before[bar.symbol] = bar.close
    return found


async def _seen(unit: Worker, article: Article) -> ArticleSeen:
    links = unit.article_instruments
    about = await links.all(links.query(ArticleInstrument.article_id == article.id))
    return ArticleSeen(
        key=str(article.id),
        title=article.title,
        at=article.published_at,
        text=article.description or "",
        source=article.source,
        sentiment=article.sentiment,
        instrument_ids=frozenset(link.instrument_id for link in about),
    )


async def _report(unit: Worker, fired: Sequence[AlertEvent]) -> None:
    await report(
        unit,
        "Demo alerts were evaluated",
        f"{len(fired)} events from half a year of closes and the invented articles",
        source="demo",
        tags=["demo"],
        dedupe_key="demo",
    )
