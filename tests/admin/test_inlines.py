"""Children on their parent's form: what is not on it is not touched."""

from decimal import Decimal
from uuid import UUID

import pytest
from httpx2 import AsyncClient

from domain import Database
from domain.database import Worker
from domain.identity.models import Role
from domain.market.models import Instrument
from domain.research.models import Watchlist, WatchlistItem
from tests.admin.browsing import Form, Page, key_of, send, visit
from tests.admin.conftest import Enter
from tests.factories.market import make_instrument
from tests.factories.trading import open_account


@pytest.fixture
async def watched(db: Database) -> Watchlist:
    """A watchlist with MSFT and NVDA on it; SPY exists."""
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        watchlist = unit.watchlists.add(Watchlist(user_id=account.user.id, name="Tech"))
        await unit.flush()
        await make_instrument(unit, "SPY")
        for order, symbol in enumerate(("MSFT", "NVDA")):
            instrument = await make_instrument(unit, symbol)
            await add(unit, watchlist, instrument, order)
    return watchlist


async def add(unit: Worker, watchlist: Watchlist, instrument: Instrument, order: int) -> None:
    item = WatchlistItem(
        user_id=watchlist.user_id,
        watchlist_id=watchlist.id,
        instrument_id=instrument.id,
        sort_order=order,
    )
    unit.session.add(item)
    await unit.flush()


async def insert(db: Database, watchlist: Watchlist, symbol: str) -> None:
    """Put an instrument on the list as somebody else would."""
    async with db.transaction(system="other") as unit:
        (instrument,) = await unit.instruments.by_symbol(symbol)
        await add(unit, watchlist, instrument, 9)


async def items(db: Database) -> dict[str, WatchlistItem]:
    async with db.read(system="test") as unit:
        records = await unit.watchlist_items.all(unit.watchlist_items.query())
        symbols = await unit.instruments.many({record.instrument_id for record in records})
        return {symbols[record.instrument_id].symbol: record for record in records}


def child(form: Form, ending: str, symbol: str) -> str:
    """Return the name of the input of the child that has this title."""
    titles = [name for name, text in form.values.items() if text == symbol and "|title" in name]
    (name,) = titles
    return name.removesuffix("title") + ending


def path_of(watchlist: Watchlist) -> str:
    return f"/watchlists/edit/{key_of(watchlist)}"


async def id_of(db: Database, symbol: str) -> UUID:
    async with db.read(system="test") as unit:
        (instrument,) = await unit.instruments.by_symbol(symbol)
        return instrument.id


async def test_children_are_changed_added_and_removed_with_their_parent(
    db: Database, boss: AsyncClient, watched: Watchlist
) -> None:
    form = (await visit(boss, path_of(watched))).form()
    answer = await send(
        boss,
        path_of(watched),
        form.submitted(
            **{
                "name": "Technology",
                child(form, "target_price", "MSFT"): "410.123456789",
                child(form, "remove", "NVDA"): "yes",
                "watchlist-items|new-0|instrument_id": str(await id_of(db, "SPY")),
                "watchlist-items|new-0|note": "the market",
            }
        ),
    )
    assert answer.headers["location"].endswith("?done=saved"), Page(answer.text).text
    found = await items(db)
    assert set(found) == {"MSFT", "SPY"}
    assert found["MSFT"].target_price == Decimal("410.123456789")
    assert (found["SPY"].note, found["SPY"].user_id) == ("the market", watched.user_id)
    async with db.read(system="test") as unit:
        assert (await unit.watchlists.get(watched.id)).name == "Technology"


async def test_saving_a_parent_keeps_a_child_that_arrived_meanwhile(
    db: Database, boss: AsyncClient, watched: Watchlist
) -> None:
    form = (await visit(boss, path_of(watched))).form()
    await insert(db, watched, "SPY")
    answer = await send(boss, path_of(watched), form.submitted(name="Technology"))
    assert answer.status_code == 303
    assert set(await items(db)) == {"MSFT", "NVDA", "SPY"}


async def test_a_stale_child_is_refused_and_nothing_of_the_form_is_written(
    db: Database, boss: AsyncClient, watched: Watchlist
) -> None:
    form = (await visit(boss, path_of(watched))).form()
    note = child(form, "note", "MSFT")
    await send(boss, path_of(watched), form.submitted(**{note: "theirs"}))
    answer = await send(
        boss, path_of(watched), form.submitted(**{note: "mine", "name": "Technology"})
    )
    assert answer.status_code == 409
    assert "theirs" in Page(answer.text).text
    assert (await items(db))["MSFT"].note == "theirs"
    async with db.read(system="test") as unit:
        assert (await unit.watchlists.get(watched.id)).name == "Tech"
    again = Page(answer.text).form()
    assert again.values[note] == "mine"
    assert (await send(boss, path_of(watched), again.submitted())).status_code == 303
    assert (await items(db))["MSFT"].note == "mine"


async def test_a_child_that_somebody_changed_is_not_removed_unseen(
    db: Database, boss: AsyncClient, watched: Watchlist
) -> None:
    form = (await visit(boss, path_of(watched))).form()
    note = child(form, "note", "MSFT")
    await send(boss, path_of(watched), form.submitted(**{note: "keep this"}))
    gone = {child(form, "remove", "MSFT"): "yes", child(form, "remove", "NVDA"): "yes"}
    answer = await send(boss, path_of(watched), form.submitted(**gone))
    assert answer.status_code == 409
    assert set(await items(db)) == {"MSFT", "NVDA"}


async def test_a_wrong_child_says_what_is_wrong_beside_its_field(
    db: Database, boss: AsyncClient, watched: Watchlist
) -> None:
    form = (await visit(boss, path_of(watched))).form()
    wrong = {child(form, "target_price", "MSFT"): "much", "watchlist-items|new-0|note": "what?"}
    answer = await send(boss, path_of(watched), form.submitted(**wrong))
    assert answer.status_code == 422
    text = Page(answer.text).text
    assert "Target price must" in text and "Instrument must be filled in" in text
    assert Page(answer.text).form().values["watchlist-items|new-0|note"] == "what?"
    assert (await items(db))["MSFT"].target_price is None


async def test_a_child_of_another_parent_cannot_be_slipped_in(
    db: Database, boss: AsyncClient, watched: Watchlist
) -> None:
    async with db.transaction(system="test") as unit:
        other = unit.watchlists.add(Watchlist(user_id=watched.user_id, name="Other"))
        await unit.flush()
        await add(unit, other, (await unit.instruments.by_symbol("SPY"))[0], 0)
        strange = f"{other.id};{await id_of(db, 'SPY')}"
    form = (await visit(boss, path_of(watched))).form()
    slipped = {f"watchlist-items|{strange}|note": "mine", f"watchlist-items|{strange}|was:note": ""}
    answer = await send(boss, path_of(watched), form.submitted(**slipped))
    assert answer.status_code == 422 and "not here any more" in Page(answer.text).text
    assert (await items(db))["SPY"].note is None


async def test_a_saved_form_leads_where_it_was_told_to(
    boss: AsyncClient, watched: Watchlist
) -> None:
    form = (await visit(boss, path_of(watched))).form()
    goals = {"continue": f"edit/{key_of(watched)}?done=unchanged", "another": "create?done="}
    for then, goal in goals.items():
        answer = await send(boss, path_of(watched), {**form.submitted(), "then": then})
        assert f"/admin/watchlists/{goal}" in answer.headers["location"]
    copy = (await visit(boss, f"/watchlists/create?like={key_of(watched)}")).form()
    assert copy.values["name"] == "Tech"


async def test_who_only_reads_finds_no_form(enter: Enter, watched: Watchlist) -> None:
    reader = await enter(Role.VIEWER)
    await visit(reader, path_of(watched), status=403)
    assert (await send(reader, path_of(watched), {"name": "Mine"})).status_code == 403


async def test_an_instrument_carries_its_aliases(db: Database, boss: AsyncClient) -> None:
    async with db.transaction(system="test") as unit:
        instrument = await make_instrument(unit, "GOOG")
    path = f"/instruments/edit/{key_of(instrument)}"
    form = (await visit(boss, path)).form()
    new = {
        "aliases|new-0|source": "ibkr",
        "aliases|new-0|symbol": "GOOG.US",
        "aliases|new-0|valid_from": "2015-01-01 00:00:00+00:00",
    }
    answer = await send(boss, path, form.submitted(**new))
    assert answer.status_code == 303, Page(answer.text).text
    page = await visit(boss, path)
    assert "ibkr GOOG.US" in page.text
