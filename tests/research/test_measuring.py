"""Metrics: one value a series and instant, for one tenant or for everybody."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from domain import Database
from domain.clock import now
from domain.errors import AccessDenied, CheckFailed, InvalidData
from domain.identity.models import User
from domain.research.measuring import NewMetric, insert_metric, insert_metrics
from domain.research.models import Metric
from tests.factories.identity import make_user

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
async def trader(db: Database) -> User:
    async with db.transaction(system="test") as unit:
        return await make_user(unit)


async def test_values_are_found_by_name_time_and_labels(db: Database, trader: User) -> None:
    rows = [
        NewMetric("portfolio_value", Decimal(day), {"portfolio": name}, START + timedelta(days=day))
        for day in range(10)
        for name in ("a", "b")
    ]
    async with db.transaction(user=trader.id) as unit:
        assert len(await insert_metrics(unit, rows)) == 20
        await insert_metric(unit, "other", 1, time=START)
    async with db.read(user=trader.id) as unit:
        found = await unit.metrics.between(
            "portfolio_value", START + timedelta(days=2), START + timedelta(days=4)
        )
        only = await unit.metrics.between(
            "portfolio_value", START, START + timedelta(days=99), labels={"portfolio": "a"}, limit=3
        )
        latest = await unit.metrics.latest("portfolio_value", labels={"portfolio": "b"})
        assert await unit.metrics.latest("nothing") is None
    assert [metric.value for metric in found] == [4, 4, 3, 3, 2, 2]  # newest first, ends included
    assert [(metric.value, metric.labels["portfolio"]) for metric in only] == [
        (9, "a"),
        (8, "a"),
        (7, "a"),
    ]
    assert latest is not None and (latest.value, latest.labels) == (9, {"portfolio": "b"})


async def test_the_same_series_and_instant_is_overwritten(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        await insert_metric(unit, "sharpe", Decimal("1.1"), labels={"a": "1", "b": "2"}, time=START)
        await insert_metric(unit, "sharpe", Decimal("1.2"), labels={"b": "2", "a": "1"}, time=START)
        await insert_metrics(unit, [NewMetric("sharpe", value, {}, START) for value in (1, 2, 3)])
    async with db.read(user=trader.id) as unit:
        found = await unit.metrics.between("sharpe", START, START)
    assert sorted(metric.value for metric in found) == [Decimal("1.2"), Decimal(3)]


async def test_without_a_time_it_is_now(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        metric = await insert_metric(unit, "latency_ms", 12)
    assert abs(metric.time - now()) < timedelta(minutes=1)
    assert metric.user_id == trader.id


async def test_tenants_see_their_own_and_everybodys_and_write_only_their_own(
    db: Database, trader: User
) -> None:
    async with db.transaction(system="test") as unit:
        bob = await make_user(unit, "bob")
        await insert_metric(unit, "vix", Decimal("13.5"), time=START)
        await insert_metrics(unit, [NewMetric("vix", 99, {}, START)], user_id=bob.id)
    async with db.transaction(user=trader.id) as unit:
        await insert_metric(unit, "vix", 1, time=START)
        seen = await unit.metrics.between("vix", START, START)
        assert sorted(metric.value for metric in seen) == [1, Decimal("13.5")]
        changed = await unit.session.execute(
            text("UPDATE research.metrics SET value = 0 WHERE user_id IS NULL RETURNING 1")
        )
        assert changed.all() == []
    for owner in (None, bob.id):
        with pytest.raises(AccessDenied):
            async with db.transaction(user=trader.id) as unit:
                unit.metrics.add(
                    Metric(metric_name="vix", time=START, value=Decimal(0), user_id=owner)
                )
    async with db.read(system="test") as unit:
        assert await unit.metrics.count() == 3


@pytest.mark.parametrize(
    ("metric", "field"),
    [
        (NewMetric("a", 1.5), "value"),  # type: ignore[arg-type]  # what a caller may do
        (NewMetric("a", Decimal("NaN")), "value"),
        (NewMetric("a", 1, {"a": 1}), "labels"),  # type: ignore[dict-item]  # what a caller may do
        (NewMetric("a", 1, {"a": "b\x00"}), "labels"),
        (NewMetric("a", 1, {}, datetime(2024, 1, 1)), "time"),  # noqa: DTZ001 - naive on purpose
    ],
)
async def test_what_is_no_measurement_is_refused_and_nothing_is_written(
    db: Database, trader: User, metric: Any, field: str
) -> None:
    async with db.transaction(user=trader.id) as unit:
        with pytest.raises(InvalidData) as refused:
            await insert_metrics(unit, [NewMetric("good", 1), metric])
        assert refused.value.field == field
        assert await unit.metrics.count() == 0


async def test_a_name_is_a_word(db: Database, trader: User) -> None:
    with pytest.raises(CheckFailed):
        async with db.transaction(user=trader.id) as unit:
            await insert_metric(unit, "Not A Word", 1)


async def test_many_thousand_values_go_in_one_statement_each_ten_thousand(
    db: Database, trader: User
) -> None:
    rows = (NewMetric("tick", n, {}, START + timedelta(seconds=n)) for n in range(12_000))
    async with db.transaction(user=trader.id) as unit:
        assert len(await insert_metrics(unit, rows)) == 12_000
    async with db.read(user=trader.id) as unit:
        assert len(await unit.metrics.between("tick", START, START + timedelta(days=1))) == 1_000
