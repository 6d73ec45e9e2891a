"""nof0's files come in whole and go out as they were."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain import Database
from domain.agents.models import Agent
from domain.agents.nof0 import asking
from domain.agents.nof0.importing import Imported, import_nof0
from domain.agents.nof0.reading import read, read_folder
from domain.agents.nof0.times import instant_of, milliseconds, seconds
from domain.agents.refreshing import refresh_leaderboard
from domain.db.exact_json import Decimals, dumps, loads
from domain.errors import AccessDenied, ConflictingTrade, InvalidData
from domain.identity.models import User
from domain.market.models import Tick
from domain.market.terms import InstrumentKind
from domain.trading.models import PositionStatus, TradeStatus
from domain.trading.verifying import verify
from tests.admin.records import content
from tests.agents.nof0_files import START, archive, held, trip, written
from tests.factories.identity import make_user
from tests.factories.market import make_instrument
from tests.factories.trading import make_portfolio


async def owner(db: Database) -> User:
    async with db.transaction(system="test") as unit:
        return await make_user(unit)


async def take(db: Database, user: User, documents: dict[str, Any]) -> Imported:
    async with db.transaction(system="nof0") as unit:
        return await import_nof0(unit, user, written(documents))


async def agent_of(db: Database, user: User) -> Agent:
    async with db.read(user=user.id) as unit:
        return await unit.agents.by_slug("gpt-5")


async def test_everything_in_the_files_is_booked(db: Database) -> None:
    user = await owner(db)
    done = await take(db, user, archive() | {"leaderboard.json": {}})
    assert done == Imported(
        agents=1,
        prices=2,
        trades=7,
        busted=0,
        snapshots=6,
        analyses=1,
        messages=2,
        ignored=["leaderboard.json"],
    )
    async with db.read(user=user.id) as unit:
        agent = await unit.agents.by_slug("gpt-5")
        (position,) = await unit.positions.open_in(agent.portfolio)
        assert (agent.display_name, agent.portfolio.position_mode) == ("GPT 5", "hedging")
        assert (position.quantity, position.entry_price) == (Decimal("-6.21"), Decimal(3860))
        assert (position.leverage, position.confidence) == (Decimal(20), Decimal("0.63"))
        assert (position.liquidation_price, position.margin_used) == (
            Decimal("4012.75"),
            Decimal("1235.436031"),
        )
        trips = await unit.session.execute(
            text(
                "SELECT entry_oid, exit_oid, trade_type, leverage, confidence,"
                " realized_gross_pnl, realized_net_pnl FROM trading.round_trips ORDER BY entry_at"
            )
        )
        assert trips.first() == (
            "204614807392",
            "212380998541",
            "long",
            Decimal(10),
            Decimal("0.62"),
            Decimal("111.9"),
            Decimal("100.286313"),
        )


async def test_what_was_booked_agrees_with_itself(db: Database) -> None:
    user = await owner(db)
    await take(db, user, archive())
    async with db.snapshot(system="test") as unit:
        portfolios = await unit.portfolios.all()
        assert [done.breaks async for done in verify(unit, portfolios)] == [()]


async def test_importing_again_changes_nothing(db: Database) -> None:
    user = await owner(db)
    await take(db, user, archive())
    before = await content(db)
    done = await take(db, user, archive())
    assert (done.agents, done.prices, done.trades, done.busted, done.messages) == (0, 0, 0, 0, 0)
    after = await content(db)
    assert after == before


async def test_two_imports_at_once_book_everything_once(db: Database) -> None:
    user = await owner(db)
    done = await asyncio.gather(*(take(db, user, archive()) for _ in range(3)))
    assert sorted(item.trades for item in done) == [0, 0, 7]
    assert sorted(item.messages for item in done) == [0, 0, 2]


async def test_trades_go_out_as_they_came(db: Database) -> None:
    user = await owner(db)
    await take(db, user, archive())
    async with db.read(user=user.id) as unit:
        answered = loads(dumps(await asking.trades(unit)))
    theirs = {item["id"]: item for item in loads(json.dumps(archive()["trades.json"]))["trades"]}
    assert [item["id"] for item in answered["trades"]] == ["gpt-5_0003", "gpt-5_0002", "gpt-5_0001"]
    for ours in answered["trades"]:
        shared = ours.keys() & theirs[ours["id"]].keys()
        assert {"quantity", "entry_price", "realized_net_pnl", "total_commission_dollars"} <= shared
        assert {name: ours[name] for name in shared} == {
            name: theirs[ours["id"]][name] for name in shared
        }
        assert ours["entry_ts_ms"] == int(ours["entry_time"] * 1000)


async def test_the_other_answers_are_what_came_in(db: Database) -> None:
    user = await owner(db)
    await take(db, user, archive())
    files = {name: loads(body) for name, body in written(archive()).items()}
    async with db.read(user=user.id) as unit:
        prices = await asking.crypto_prices(unit)
        analytics = await asking.analytics(unit, agent=await unit.agents.by_slug("gpt-5"))
        conversations = await asking.conversations(unit)
        positions = await asking.positions(unit)
        starts = await asking.since_inception_values(unit)
    assert prices["prices"] == files["crypto-prices.json"]["prices"]
    assert analytics["analytics"] == files["analytics.json"]["analytics"]
    assert conversations["conversations"] == files["conversations.json"]["conversations"]
    (account,) = positions["accountTotals"]
    theirs = loads(json.dumps(held()))
    ours = account["positions"]["ETH"]
    assert {name: ours[name] for name in theirs if name != "risk_usd"} == {
        name: value for name, value in theirs.items() if name != "risk_usd"
    }
    (start,) = starts["sinceInceptionValues"]
    assert (start["nav_since_inception"], start["inception_date"]) == (
        10_000,
        START - Decimal("0.5"),
    )
    assert start["num_invocations"] == 1


async def test_totals_become_the_equity_curve_and_the_leaderboard(db: Database) -> None:
    user = await owner(db)
    await take(db, user, archive())
    async with db.transaction(system="nof0") as unit:
        await refresh_leaderboard(unit)
    async with db.read(user=user.id) as unit:
        (line,) = (await asking.leaderboard(unit))["leaderboard"]
        (total,) = (await asking.account_totals(unit))["accountTotals"]
        points = await asking.since_inception(unit, await unit.agents.by_slug("gpt-5"))
    assert (line["equity"], line["return_pct"]) == (Decimal(11_530), Decimal("15.3"))
    assert (line["num_trades"], line["num_wins"], line["num_losses"]) == (3, 2, 1)
    assert (line["win_dollars"], line["lose_dollars"]) == (
        Decimal("160.786313"),
        Decimal("-123.513687"),
    )
    assert line["sharpe"] is not None and total["sharpe_ratio"] == line["sharpe"]
    assert (total["dollar_equity"], list(total["positions"])) == (Decimal(11_530), ["ETH"])
    assert points[0] == {"timestamp": START * 1000, "value": Decimal(10_000)}
    assert len(points) == 6


async def test_a_position_that_changed_is_corrected_and_one_that_closed_becomes_its_round_trip(
    db: Database,
) -> None:
    user = await owner(db)
    documents = archive()
    await take(db, user, documents)
    account = documents["positions.json"]["accountTotals"][0]
    account["positions"]["ETH"] = held(quantity=-7, entry_price=3861.5)
    await take(db, user, documents)
    agent = await agent_of(db, user)
    async with db.read(user=user.id) as unit:
        (position,) = await unit.positions.open_in(agent.portfolio)
        assert (position.quantity, position.entry_price) == (Decimal(-7), Decimal("3861.5"))

    account["positions"] = {}
    closed = trip(
        4,
        symbol="ETH",
        side="short",
        quantity=-7,
        entry_price=3861.5,
        exit_price=3800,
        entry_oid=held()["entry_oid"],
        realized_gross_pnl=430.5,
        realized_net_pnl=415,
    )
    documents["trades.json"]["trades"].append(closed)
    done = await take(db, user, documents)
    assert (done.busted, done.trades) == (1, 2)
    async with db.read(user=user.id) as unit:
        assert list(await unit.positions.open_in(agent.portfolio)) == []
        found = await unit.positions.all(unit.positions.query().order_by("opened_at"))
        assert {item.status for item in found} == {PositionStatus.CLOSED}
        assert found[-1].realized_pnl == Decimal(415)
        statuses = [item.status for item in await unit.trades.all()]
        assert statuses.count(TradeStatus.BUSTED) == statuses.count(TradeStatus.CORRECTED) == 1
    assert (await take(db, user, documents)).trades == 0


async def test_a_position_that_is_listed_again_is_opened_again(db: Database) -> None:
    user = await owner(db)
    empty, full = archive(), archive()
    empty["positions.json"]["accountTotals"][0]["positions"] = {}
    for documents in (full, empty, full, full):
        await take(db, user, documents)
    agent = await agent_of(db, user)
    async with db.read(user=user.id) as unit:
        (position,) = await unit.positions.open_in(agent.portfolio)
    assert position.quantity == Decimal("-6.21")


async def test_a_model_that_is_not_listed_keeps_its_positions(db: Database) -> None:
    user = await owner(db)
    documents = archive()
    await take(db, user, documents)
    documents["positions.json"]["accountTotals"] = []
    assert (await take(db, user, documents)).busted == 0


async def test_imported_equity_survives_later_trades(db: Database) -> None:
    user = await owner(db)
    documents = archive()
    await take(db, user, documents)
    documents["trades.json"]["trades"].append(trip(0))
    documents["account-totals.json"]["accountTotals"] = documents["account-totals.json"][
        "accountTotals"
    ][-1:]
    await take(db, user, documents)
    async with db.read(user=user.id) as unit:
        assert len(await unit.agents.since_inception(await agent_of(db, user))) == 6


async def test_overlapping_round_trips_of_one_coin_stay_apart(db: Database) -> None:
    user = await owner(db)
    trips = [
        trip(
            number,
            quantity=0.1 + number,
            realized_gross_pnl=932.5 * (0.1 + number),
            realized_net_pnl=number,
        )
        for number in range(1, 5)
    ]
    await take(db, user, {"trades.json": {"trades": trips}})
    async with db.read(user=user.id) as unit:
        answered = (await asking.trades(unit, limit=3))["trades"]
    assert [item["realized_net_pnl"] for item in answered] == [4, 3, 2]


async def test_an_inverse_contract_of_the_same_symbol_is_not_mistaken_for_the_coin(
    db: Database,
) -> None:
    user = await owner(db)
    async with db.transaction(system="test") as unit:
        await make_instrument(
            unit,
            "BTC",
            kind=InstrumentKind.PERPETUAL,
            is_inverse=True,
            settlement_currency="BTC",
            exchange="bitmex",
        )
    await take(db, user, archive())
    async with db.read(user=user.id) as unit:
        assert (await asking.trades(unit))["trades"][-1]["realized_gross_pnl"] == Decimal("111.9")


async def test_a_conversation_grows_and_never_changes(db: Database) -> None:
    user = await owner(db)
    documents = {"conversations.json": archive()["conversations.json"]}
    await take(db, user, documents)
    messages = documents["conversations.json"]["conversations"][0]["messages"]
    messages.append({"role": "", "content": "Covered.", "timestamp": START + 90})
    assert (await take(db, user, documents)).messages == 1
    messages[1]["content"] = "Long ETH."
    with pytest.raises(InvalidData, match="message 2 of gpt-5"):
        await take(db, user, documents)


async def test_a_round_trip_with_other_economics_is_refused_whole(db: Database) -> None:
    user = await owner(db)
    documents = archive()
    await take(db, user, documents)
    before = await content(db)
    documents["trades.json"]["trades"][0] = trip(1, quantity=0.24, realized_gross_pnl=223.8)
    documents["conversations.json"]["conversations"][0]["messages"] *= 2
    with pytest.raises(ConflictingTrade):
        await take(db, user, documents)
    assert await content(db) == before


async def test_an_agent_whose_portfolio_nets_is_not_filled_with_overlapping_trades(
    db: Database,
) -> None:
    user = await owner(db)
    async with db.transaction(user=user.id) as unit:
        portfolio = await make_portfolio(unit, user)
        values = {"user_id": user.id, "portfolio_id": portfolio.id}
        unit.agents.add(Agent(slug="gpt-5", display_name="Mine", **values))
    with pytest.raises(InvalidData, match="portfolio of gpt-5 must be hedging"):
        await take(db, user, archive())


async def test_a_tenant_may_import_what_has_no_prices(db: Database) -> None:
    user = await owner(db)
    documents = archive()
    with pytest.raises(AccessDenied):
        async with db.transaction(user=user.id) as unit:
            await import_nof0(unit, user, written(documents))
    del documents["crypto-prices.json"]
    async with db.transaction(user=user.id) as unit:
        assert (await import_nof0(unit, user, written(documents))).trades == 7


async def test_an_older_price_does_not_replace_a_newer_one(db: Database) -> None:
    user = await owner(db)
    documents = {"crypto-prices.json": archive()["crypto-prices.json"]}
    await take(db, user, documents)
    documents["crypto-prices.json"]["prices"]["BTC"] |= {"price": 1, "timestamp": START * 1000}
    assert (await take(db, user, documents)).prices == 1
    async with db.read(user=user.id) as unit:
        assert await unit.ticks.count(unit.ticks.query(Tick.price == 1)) == 1
        rows = await unit.session.execute(
            text("SELECT symbol, price, timestamp_ms FROM agents.crypto_prices_latest")
        )
        assert rows.first() == ("BTC", Decimal("111317.5"), START * 1000 + 744)


BROKEN: list[tuple[str, str, Any, str]] = [
    ("trades.json", "trades.0.quantity", "1", "trades.json: trades[0].quantity must be a number"),
    ("trades.json", "trades.0.quantity", 0, "trades.json: trades[0].quantity must not be zero"),
    ("trades.json", "trades.0.quantity", -1, "be positive for a long trade"),
    ("trades.json", "trades.0.side", "LONG", "trades.json: trades[0].side must be long or short"),
    ("trades.json", "trades.0.id", None, "trades.json: trades[0].id must be text"),
    ("trades.json", "trades.0.id", "a|b", "trades[0].id must have no |"),
    ("trades.json", "trades.1.id", "gpt-5_0001", "trades[1].id must occur once in the file"),
    ("trades.json", "trades.0.model_id", "gpt 5", "trades[0].model_id must be letters, digits"),
    ("trades.json", "trades.0.symbol", " BTC", "trades[0].symbol must be 1 to 64 characters"),
    ("trades.json", "trades.0.exit_time", START - 9, "exit_time must not lie before the entry"),
    ("trades.json", "trades.0.exit_time", True, "exit_time must be a time"),
    ("trades.json", "trades.0.entry_time", 1e30, "must lie between the years 1 and 9999"),
    ("trades.json", "trades.0.confidence", 1.5, "confidence must lie between 0 and 1"),
    ("trades.json", "trades.0.entry_price", -3, "trades[0].entry_price must be positive"),
    ("trades.json", "trades.0.realized_gross_pnl", 911.9, "about 111.90, was"),
    ("trades.json", "trades.0.entry_price", 1e25, "entry_price must be smaller than 10^20"),
    ("trades.json", "trades.0", [], "trades.json: trades[0] must be an object"),
    ("trades.json", "trades", {}, "trades.json: trades must be a list"),
    ("crypto-prices.json", "prices.BTC.symbol", "ETH", "prices.BTC.symbol must be BTC"),
    ("crypto-prices.json", "prices.BTC.price", None, "prices.BTC.price must be a number"),
    ("positions.json", "accountTotals.0.positions.ETH.entry_oid", None, "entry_oid must name the"),
    ("account-totals.json", "accountTotals.0.dollar_equity", "x", "dollar_equity must be a number"),
    ("since-inception-values.json", "sinceInceptionValues.0.nav_since_inception", 0, "positive"),
    ("analytics.json", "analytics.0.updated_at", "yesterday", "updated_at must be a time"),
    ("analytics.json", "analytics.0.updated_at", "2026-01-01T00:00", "must carry a time zone"),
    ("conversations.json", "conversations.0.messages.0.role", "poet", "role must be one of system"),
    ("conversations.json", "conversations.0.messages.0.content", "a\x00", "text without NUL"),
    ("conversations.json", "conversations.0.messages.0.timestamp", None, "timestamp must be given"),
]


def broken(name: str, path: str, value: Any) -> dict[str, Any]:
    documents = archive()
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    target: Any = documents[name]
    for part in way:
        target = target[part]
    target[last] = value
    return documents


@pytest.mark.parametrize(("name", "path", "value", "message"), BROKEN)
def test_a_broken_file_is_refused_by_name_path_value_and_rule(
    name: str, path: str, value: Any, message: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        read(written(broken(name, path, value)))
    assert message in str(refused.value)
    assert str(refused.value).startswith(name)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "be JSON (Expecting value, line 1 column 1)"),
        (b'{"trades": [', "be JSON (Expecting value, line 1 column 13)"),
        (b'{"trades": [NaN]}', "hold finite numbers only"),
        (b"\xff\xfe\x00", "be JSON"),
        (b"[" * 5_000 + b"]" * 5_000, "be JSON"),
        (b"[" * 200 + b"]" * 200, "be nested at most 100 levels deep"),
        (b'{"trades": [1e999999999]}', "have exponents up to 400"),
        (b'{"trades": [1e-999999999]}', "have exponents up to 400"),
        (b'{"trades": [' + b"9" * 5_000 + b"]}", "be JSON"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, rule: str) -> None:
    with pytest.raises(InvalidData, match="^trades.json must") as refused:
        read({"trades.json": body})
    assert rule in str(refused.value)


async def test_a_broken_file_leaves_nothing_behind(db: Database) -> None:
    user = await owner(db)
    before = await content(db)
    async with db.transaction(system="nof0") as unit:
        with pytest.raises(InvalidData):
            await import_nof0(
                unit, user, written(broken("conversations.json", "conversations.0.messages.0", 1))
            )
    assert await content(db) == before


LEAVES = (
    st.none() | st.booleans() | st.integers(-(10**6), 10**19) | st.floats() | st.text(max_size=8)
)
JSON = st.deferred(
    lambda: (
        LEAVES | st.lists(JSON, max_size=3) | st.dictionaries(st.text(max_size=5), JSON, max_size=3)
    )
)


@given(st.sampled_from(BROKEN), JSON)
@settings(max_examples=300)
def test_whatever_stands_in_a_field_it_is_read_or_refused_by_name(
    place: tuple[str, str, Any, str], value: Any
) -> None:
    name, path, _, _ = place
    files = {name: written(broken(name, path, value))[name]}
    assert refusal(files).startswith(name)


def refusal(files: dict[str, bytes]) -> str:
    """Return why files are refused, or all their names."""
    try:
        read(files)
    except InvalidData as error:
        return str(error)
    return "".join(files)


def test_positions_whose_round_trips_are_there_are_not_open() -> None:
    documents = archive()
    same = {"symbol": "ETH", "entry_oid": held()["entry_oid"], "side": "short"}
    documents["trades.json"]["trades"].append(
        trip(9, quantity=-6.21, entry_price=3860, exit_price=3850, realized_gross_pnl=62.1, **same)
    )
    assert read(written(documents)).positions == {"gpt-5": []}


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    for name, body in written(archive()).items():
        (tmp_path / name).write_bytes(body)
    (tmp_path / "notes.txt").write_text("not json")
    assert read_folder(tmp_path) == written(archive())


@pytest.mark.parametrize("decimals", ["number", "string"])
def test_a_reader_gets_every_digit(decimals: Decimals) -> None:
    value = {"a": [Decimal("0.100000000000000001"), None, True, -3], "ä\n": Decimal("-1E+19")}
    text = dumps(value, decimals=decimals)
    found = loads(text)
    assert [Decimal(found["a"][0]), Decimal(found["ä\n"])] == [value["a"][0], value["ä\n"]]
    assert isinstance(found["a"][0], str if decimals == "string" else Decimal)


@given(JSON)
def test_json_that_was_read_is_written_back_the_same(value: Any) -> None:
    try:
        found = loads(json.dumps(value))
    except InvalidData:
        return
    assert loads(dumps(found)) == found


@pytest.mark.parametrize("value", [0.1, {1: 2}, b"x", Decimal("NaN"), {"a": {"b": object()}}])
def test_what_json_cannot_hold_exactly_is_refused(value: object) -> None:
    with pytest.raises(InvalidData):
        dumps(value)


@pytest.mark.parametrize(
    "value",
    [1761314029, Decimal("1761314029.000"), 1761314029000, "2025-10-24T13:53:49Z"],
)
def test_seconds_milliseconds_and_text_name_the_same_instant(value: object) -> None:
    assert instant_of(value, "t") == datetime(2025, 10, 24, 13, 53, 49, tzinfo=UTC)


@given(st.datetimes(datetime(2002, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - hypothesis' bounds
def test_times_survive_both_ways(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    assert instant_of(seconds(moment), "t") == moment
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert instant_of(milliseconds(moment), "t") == whole
