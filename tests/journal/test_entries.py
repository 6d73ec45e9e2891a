"""Entries, setups and tags: what is accepted, what is refused, what is found."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import InvalidRequestError

from domain import Database, JournalEntry, User
from domain.errors import AlreadyExists, CheckFailed, InvalidData, NotFound, ReferenceViolation
from domain.journal.models import Setup, Tag
from domain.journal.recording import record_entry, tag_entry, untag_entry
from domain.journal.terms import EntryKind, TagCategory
from domain.research.analysing import save_analysis
from domain.research.measuring import NewMetric, insert_metrics
from domain.research.screening import save_screener, save_screener_run
from domain.research.watching import update_watchlist
from domain.schema import metadata
from tests.factories.identity import make_user
from tests.factories.journal import MONDAY, make_entry, make_setup, new_entry
from tests.factories.market import make_instrument
from tests.factories.trading import open_account

BULL_PUT = [
    {"action": "sell", "type": "put", "strike": "180", "expiration": "2024-02-16", "quantity": 1},
    {"action": "buy", "type": "put", "strike": "175", "expiration": "2024-02-16", "quantity": 1},
]


async def test_everything_that_the_old_trade_journal_held_has_a_place(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        entry = new_entry(
            account.user.id,
            instrument_id=account.instrument.id,
            strategy="bull put spread",
            legs=BULL_PUT,
            entry_price=Decimal("-1.25"),
            exit_on=date(2024, 1, 19),
            exit_price=Decimal("0.40"),
            pnl=Decimal("85.00"),
            pnl_percent=Decimal("22.67"),
            notes="Closed at two thirds of the credit.",
        )
        await record_entry(unit, entry)
    async with db.read(user=account.user.id) as unit:
        found = await unit.journal_entries.get(entry.id)
    assert found.legs == BULL_PUT
    assert (found.entry_on, found.exit_on) == (MONDAY, date(2024, 1, 19))
    assert (found.pnl, found.pnl_percent) == (Decimal(85), Decimal("22.67"))
    assert str(found) == "bull put spread of 2024-01-08"


@pytest.mark.parametrize(
    ("entry", "stop", "target", "expected"),
    [
        ("190", "185", "205", "3"),
        ("190", "195", "175", "3"),  # short
        ("190", "185", "188", "-0.4"),  # a target on the wrong side shows
        ("190", "190", "205", None),
        ("190", None, "205", None),
    ],
)
async def test_planned_reward_is_in_units_of_planned_risk(
    db: Database, entry: str, stop: str | None, target: str, expected: str | None
) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        made = await make_entry(
            unit,
            user.id,
            planned_entry=Decimal(entry),
            planned_stop=None if stop is None else Decimal(stop),
            planned_target=Decimal(target),
        )
        await unit.session.refresh(made)
        assert made.planned_rr == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("rating", {"rating": 6}),
        ("rating", {"rating": 0}),
        ("title", {"title": ""}),
        ("title", {"title": "x" * 201}),
        ("notes", {"notes": "a\x00b"}),
        ("initial_risk", {"initial_risk": Decimal(0)}),
        ("initial_risk", {"initial_risk": Decimal(-5)}),
        ("exit_on", {"exit_on": MONDAY - timedelta(days=1)}),
        ("exit_on", {"exit_price": Decimal(1)}),
        ("legs", {"legs": {"a": 1}}),
        (
            "exit_at",
            {
                "entry_at": datetime(2024, 1, 8, 15, tzinfo=UTC),
                "exit_at": datetime(2024, 1, 8, 14, tzinfo=UTC),
            },
        ),
    ],
)
async def test_an_entry_that_breaks_a_rule_is_refused_by_name_and_by_the_database(
    db: Database, field: str, values: dict[str, Any]
) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        with pytest.raises(InvalidData, match=f"{field} must") as refused:
            await record_entry(unit, new_entry(user.id, **values))
        assert refused.value.field == field
    if field == "notes":
        return
    with pytest.raises(CheckFailed):
        async with db.transaction(system="test") as unit:
            await make_entry(unit, user.id, **values)


async def test_a_float_is_no_profit(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        with pytest.raises(InvalidData, match="never a float"):
            await make_entry(unit, user.id, pnl=12.5)
        await unit.session.rollback()


async def test_tags_are_shared_and_their_case_does_not_matter(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        first = await record_entry(unit, new_entry(user.id), tags=["Earnings", "gap "])
        second = await record_entry(unit, new_entry(user.id), tags=["EARNINGS", "earnings"])
        await tag_entry(unit, second, ["FOMO"], category=TagCategory.MISTAKE)
        await tag_entry(unit, second, ["fomo"], category=TagCategory.EMOTION)
        assert sorted((tag.category, tag.name) for tag in await unit.tags.all()) == [
            ("emotion", "fomo"),
            ("general", "Earnings"),
            ("general", "gap"),
            ("mistake", "FOMO"),
        ]
        assert await unit.entry_tags.count() == 5
        taken = [tag for tag in await unit.tags.all() if tag.name == "Earnings"]
        assert await untag_entry(unit, first, taken) == 1
        assert await unit.entry_tags.count() == 4
    with pytest.raises(AlreadyExists):
        async with db.transaction(user=user.id) as unit:
            unit.tags.add(Tag(user_id=user.id, name="eArNiNgS"))


@pytest.mark.parametrize("name", ["", "  ", "x" * 51, "a\x00"])
async def test_a_tag_has_a_name(db: Database, name: str) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        with pytest.raises(InvalidData, match="tag must"):
            await record_entry(unit, new_entry(user.id), tags=[name])
        await unit.session.rollback()


async def test_a_setup_outlives_nothing_and_its_entries_outlive_it(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        setup = await make_setup(unit, user.id)
        entry = await make_entry(unit, user.id, setup_id=setup.id)
    async with db.transaction(user=user.id) as unit:
        found = await unit.setups.named("Breakout")
        assert found.checklist[1] == "Is the stop set?"
        await unit.setups.remove(found)
    async with db.read(user=user.id) as unit:
        left = await unit.journal_entries.get(entry.id)
        assert (left.setup_id, left.user_id) == (None, user.id)
        with pytest.raises(NotFound):
            await unit.setups.named("Breakout")


async def test_another_tenants_setup_cannot_be_used_and_their_journal_not_seen(
    db: Database,
) -> None:
    async with db.transaction(system="test") as unit:
        ada, bob = await make_user(unit, "ada"), await make_user(unit, "bob")
        setup = await make_setup(unit, bob.id)
        entry = await make_entry(unit, bob.id, title="secret plan")
        await tag_entry(unit, entry, ["secret"])
    with pytest.raises(ReferenceViolation):
        async with db.transaction(user=ada.id) as unit:
            await make_entry(unit, ada.id, setup_id=setup.id)
    async with db.read(user=ada.id) as unit:
        assert await unit.journal_entries.search("secret") == []
        for repository in (unit.journal_entries, unit.setups, unit.tags, unit.entry_tags):
            assert await repository.count() == 0


async def test_pages_and_open_trades_of_a_portfolio(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        days = [MONDAY + timedelta(days=number) for number in range(5)]
        for day in days:
            await make_entry(
                unit,
                account.user.id,
                entry_on=day,
                portfolio_id=account.portfolio.id,
                exit_on=day if day.weekday() < 3 else None,
            )
        await make_entry(unit, account.user.id, kind=EntryKind.DAILY)
    async with db.read(user=account.user.id) as unit:
        first = await unit.journal_entries.of(account.portfolio, limit=3)
        second = await unit.journal_entries.of(account.portfolio, limit=3, after=first.after)
        assert [entry.entry_on for entry in (*first.items, *second.items)] == days[::-1]
        assert [entry.entry_on for entry in await unit.journal_entries.open_trades()] == days[3:]


async def test_an_edit_that_read_an_older_version_is_refused(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        entry = await make_entry(unit, user.id)
    async with db.transaction(user=user.id) as unit:
        changed = await unit.journal_entries.patch(entry.id, version=1, rating=4)
        assert (changed.rating, changed.version) == (4, 2)


async def test_relations_are_loaded_on_purpose(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        entry = await make_entry(unit, user.id)
        with pytest.raises(InvalidRequestError):
            _ = entry.tags


TEXTS: list[dict[str, Any]] = [
    {"title": "Breakout in Apple", "thesis": "Volume doubled on the breakout day"},
    {"title": "Lazy Friday", "notes": "Bought the breakouts too late, again"},
    {"title": "Covered call on IBM", "strategy": "covered call", "lessons": "Roll earlier"},
    {"title": None, "notes": "L'été indien — Käufe wie geplant"},
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("breakout", ["Breakout in Apple", "Lazy Friday"]),  # title before notes
        ("breaking out", []),
        ("rolled", ["Covered call on IBM"]),  # word forms
        ('"covered call"', ["Covered call on IBM"]),
        ('"call covered"', []),
        ("breakout -apple", ["Lazy Friday"]),
        ("apple or covered", ["Covered call on IBM", "Breakout in Apple"]),
        ("käufe", [None]),
        ("", []),
        ("'); DROP TABLE journal.tags; --", []),
        ("& | ! ( :*", []),
    ],
)
async def test_texts_are_searched_as_people_type(
    db: Database, words: str, expected: list[str | None]
) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        for texts in TEXTS:
            await make_entry(unit, user.id, **texts)
    async with db.read(user=user.id) as unit:
        found = await unit.journal_entries.search(words)
    assert sorted([entry.title for entry in found], key=str) == sorted(expected, key=str)
    assert [entry.title for entry in found][:1] == expected[:1]


async def test_a_search_is_limited(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        for _ in range(3):
            await make_entry(unit, user.id, title="breakout")
    async with db.read(user=user.id) as unit:
        assert len(await unit.journal_entries.search("breakout", limit=2)) == 2
        for limit in (0, 1_001):
            with pytest.raises(InvalidData, match="limit"):
                await unit.journal_entries.search("breakout", limit=limit)
        with pytest.raises(InvalidData, match="NUL"):
            await unit.journal_entries.search("a\x00b")


async def test_an_edited_text_is_found_by_its_new_words(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        entry = await make_entry(unit, user.id, notes="hesitated")
    async with db.transaction(user=user.id) as unit:
        await unit.journal_entries.patch(entry.id, notes="revenge trade")
        assert await unit.journal_entries.search("hesitated") == []
        (found,) = await unit.journal_entries.search("revenge")
        assert isinstance(found, JournalEntry)
        assert found.tags == []


async def test_a_setup_name_is_unique_for_its_owner(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        ada, bob = await make_user(unit, "ada"), await make_user(unit, "bob")
        await make_setup(unit, ada.id)
        await make_setup(unit, bob.id)
    with pytest.raises(AlreadyExists):
        async with db.transaction(user=ada.id) as unit:
            unit.setups.add(Setup(user_id=ada.id, name="Breakout"))


async def test_a_user_who_is_deleted_takes_everything_along(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        setup = await make_setup(unit, user.id)
        instrument = await make_instrument(unit)
        saved = await save_analysis(unit, instrument, "chart", {}, user_id=user.id)
        entry = new_entry(user.id, setup_id=setup.id, analysis_id=saved.analysis.id)
        await record_entry(unit, entry, tags=["a", "b"])
        await update_watchlist(unit, "Core", [instrument], user_id=user.id)
        screener = await save_screener(unit, "Puts", "csp", {}, user_id=user.id)
        await save_screener_run(unit, screener, [])
        await insert_metrics(unit, [NewMetric("a", 1)], user_id=user.id)
    async with db.transaction(system="test") as unit:
        await unit.users.delete_where(User.id == user.id)
    async with db.read(system="test") as unit:
        owned = [t for t in metadata.tables.values() if t.schema in {"journal", "research"}]
        for table in owned:
            rows = await unit.session.execute(select(func.count()).select_from(table))
            assert rows.scalar_one() == 0, table.fullname


async def test_an_entry_outlives_the_analysis_that_led_to_it(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        saved = await save_analysis(unit, None, "chart", {}, user_id=user.id)
        entry = await make_entry(unit, user.id, analysis_id=saved.analysis.id)
    async with db.transaction(user=user.id) as unit:
        await unit.analyses.remove(await unit.analyses.get(saved.analysis.id))
    async with db.read(user=user.id) as unit:
        assert (await unit.journal_entries.get(entry.id)).analysis_id is None
