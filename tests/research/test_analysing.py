"""Analyses: saved once for each workflow, announced once, found by symbol."""

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from domain import Database
from domain.errors import AccessDenied, CheckFailed, InvalidData
from domain.identity.models import User
from domain.research.analysing import save_analysis
from tests.factories.identity import make_user
from tests.factories.market import make_instrument
from tests.research.test_screening import messages


@pytest.fixture
async def trader(db: Database) -> User:
    async with db.transaction(system="test") as unit:
        for symbol in ("AAPL", "SPY"):
            await make_instrument(unit, symbol)
        return await make_user(unit)


async def test_an_analysis_keeps_its_numbers(db: Database, trader: User) -> None:
    result = {
        "support": Decimal("187.300"),
        "on": date(2024, 1, 8),
        "at": datetime(2024, 1, 8, 14, 30, tzinfo=UTC),
        "levels": [1, 2.5, None, True],
    }
    async with db.transaction(user=trader.id) as unit:
        saved = await save_analysis(
            unit,
            "AAPL",
            "chart",
            result,
            params={"timeframe": "1d"},
            recommendation="select",
            confidence=Decimal("0.85"),
            model="chart-agent-2",
        )
    assert saved.is_new
    async with db.read(user=trader.id) as unit:
        found = await unit.analyses.latest("AAPL", "chart")
    assert found is not None
    assert found.result == {
        "support": "187.3",
        "on": "2024-01-08",
        "at": "2024-01-08T14:30:00+00:00",
        "levels": [1, 2.5, None, True],
    }
    assert (found.confidence, found.model) == (Decimal("0.85"), "chart-agent-2")


async def test_a_workflow_saves_once_however_often_it_is_sent(db: Database, trader: User) -> None:
    async def save(recommendation: str) -> bool:
        async with db.transaction(user=trader.id) as unit:
            saved = await save_analysis(
                unit, "AAPL", "chart", {}, workflow_id="wf-1", recommendation=recommendation
            )
            return saved.is_new

    results = await asyncio.gather(*(save(word) for word in ["select", "reject"] * 3))
    assert sorted(results) == [False] * 5 + [True]
    async with db.transaction(user=trader.id) as unit:
        assert (await save_analysis(unit, "AAPL", "options", {}, workflow_id="wf-1")).is_new
        assert (await save_analysis(unit, None, "chart", {}, workflow_id="wf-1")).is_new
        assert not (await save_analysis(unit, None, "chart", {}, workflow_id="wf-1")).is_new
        assert (await save_analysis(unit, "AAPL", "chart", {})).is_new
        assert (await save_analysis(unit, "AAPL", "chart", {})).is_new
        assert await unit.analyses.count() == 5
    assert len(await messages(db, "analysis_complete")) == 5


async def test_one_tenants_workflow_is_not_anothers(db: Database, trader: User) -> None:
    async with db.transaction(system="test") as unit:
        bob = await make_user(unit, "bob")
        for user in (trader, bob):
            saved = await save_analysis(
                unit, "AAPL", "chart", {}, workflow_id="wf", user_id=user.id
            )
            assert saved.is_new


async def test_what_was_saved_is_announced_in_the_same_transaction(
    db: Database, trader: User
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(user=trader.id) as unit:
            await save_analysis(unit, "SPY", "full", {}, recommendation="reject")
            raise ZeroDivisionError
    assert await messages(db, "analysis_complete") == []
    async with db.transaction(user=trader.id) as unit:
        saved = await save_analysis(unit, "SPY", "full", {}, recommendation="reject")
    (message,) = await messages(db, "analysis_complete")
    assert message.payload == {
        "type": "analysis_complete",
        "userId": str(trader.id),
        "analysisId": str(saved.analysis.id),
        "symbol": "SPY",
        "analysisType": "full",
        "recommendation": "reject",
    }


async def test_history_is_newest_first_by_symbol_and_type(db: Database, trader: User) -> None:
    for number in range(5):
        async with db.transaction(user=trader.id) as unit:
            for symbol in ("AAPL", "SPY"):
                kind = "chart" if number % 2 else "options"
                await save_analysis(unit, symbol, kind, {"number": number})
    async with db.read(user=trader.id) as unit:
        page = await unit.analyses.history("AAPL", limit=3)
        rest = await unit.analyses.history("AAPL", limit=3, after=page.after)
        charts = await unit.analyses.history("AAPL", "chart")
        latest = await unit.analyses.latest("AAPL", "options")
        assert await unit.analyses.latest("IBM") is None
    assert [item.result["number"] for item in (*page.items, *rest.items)] == [4, 3, 2, 1, 0]
    assert [item.result["number"] for item in charts.items] == [3, 1]
    assert {str(item.instrument) for item in charts.items} == {"AAPL"}
    assert latest is not None and latest.result == {"number": 4}


@pytest.mark.parametrize(
    ("arguments", "details", "field"),
    [
        (("NOPE", "chart", {}), {}, "symbol"),
        (("AAPL", "chart", {"x": float("nan")}), {}, "result"),
        (("AAPL", "chart", {"x": "a\x00"}), {}, "result"),
        (("AAPL", "chart", {}), {"params": {"x": object()}}, "params"),
        (("AAPL", "chart", {}), {"confidence": Decimal("1.01")}, "confidence"),
        (("AAPL", "chart", {}), {"confidence": 0.5}, "confidence"),
        (("AAPL", "chart", {}), {"workflow_id": ""}, "workflow_id"),
    ],
)
async def test_what_breaks_a_rule_is_refused(
    db: Database, trader: User, arguments: tuple[Any, ...], details: dict[str, Any], field: str
) -> None:
    async with db.transaction(user=trader.id) as unit:
        with pytest.raises(InvalidData) as refused:
            await save_analysis(unit, *arguments, **details)
        assert refused.value.field == field
        assert await unit.analyses.count() == 0


async def test_a_type_is_a_word(db: Database, trader: User) -> None:
    with pytest.raises(CheckFailed):
        async with db.transaction(user=trader.id) as unit:
            await save_analysis(unit, "AAPL", "Not A Word", {})


async def test_an_analysis_is_never_changed(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        await save_analysis(unit, "AAPL", "chart", {})
    with pytest.raises(AccessDenied):
        async with db.transaction(user=trader.id) as unit:
            await unit.session.execute(text("UPDATE research.analyses SET result = '{}'"))
