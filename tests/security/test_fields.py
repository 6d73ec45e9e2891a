"""Fields that a role may not see or change, attacked on every way in and out of the admin.

What is hidden is neither shown nor asked for: a list that can be narrowed or sorted by a value
tells it, one question at a time. What is only seen is written by no form, whatever is sent.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from domain import Database
from domain.identity.models import Effect, Role
from domain.identity.permissions import FIELD, Permits, Rule, set_rules
from domain.research.models import Watchlist, WatchlistItem
from tests.admin.browsing import Page, key_of, links, send, visit
from tests.security.conftest import House

SAME = {"sec-fetch-site": "same-origin"}
HIDDEN = {
    "portfolios": ("description", "broker"),
    "instruments": ("name", "exchange"),
    "watchlists": ("description",),
    "watchlist-items": ("note",),
    "trades": ("price", "description"),
    "users": ("email",),
    "bars": ("close",),
}
READONLY = {
    "portfolios": ("name",),
    "instruments": ("status",),
    "alerts": ("threshold",),
    "watchlist-items": ("target_price",),
}
SECRET = "xanadu"


@dataclass
class Vault:
    """A house in which a manager may not see or change everything.

    Args:
        house: The house.
        thief: The manager's browser.
        watchlist: A list with an instrument whose note is hidden.
        item: The key of that line.
        trade: A trade whose price is hidden.
    """

    house: House
    thief: AsyncClient
    watchlist: Watchlist
    item: str
    trade: str

    @property
    def db(self) -> Database:
        return self.house.db

    @property
    def portfolio(self) -> str:
        return key_of(self.house.ada.portfolio)

    @property
    def instrument(self) -> str:
        return key_of(self.house.ada.instrument)

    async def stored(self, name: str, key: Any) -> Any:
        """Return a record as it is stored."""
        async with self.db.read(system="probe") as unit:
            return await getattr(unit, name).get(key)


@pytest.fixture(scope="module")
async def vault(house: House) -> Vault:
    ada = house.ada
    async with house.db.transaction(system="probe") as unit:
        await unit.portfolios.patch(ada.portfolio.id, description=SECRET, broker=SECRET)
        await unit.instruments.patch(ada.instrument.id, name=SECRET, exchange=SECRET)
        of: dict[str, Any] = {"user_id": ada.user.id}
        watchlist = unit.watchlists.add(Watchlist(name="Seen", description=SECRET, **of))
        await unit.flush()
        of |= {"watchlist_id": watchlist.id, "instrument_id": ada.instrument.id}
        target = Decimal("187.30")
        unit.watchlist_items.add(WatchlistItem(note=SECRET, target_price=target, **of))
        rules = [
            Rule(table, FIELD, name, effect)
            for effect, fields in ((Effect.HIDDEN, HIDDEN), (Effect.READONLY, READONLY))
            for table, names in fields.items()
            for name in names
        ]
        guarded = house.app.state.site.sign_in.guarded
        await set_rules(unit, Permits(Role.ADMIN), Role.MANAGER, rules, guarded=guarded)
    trade = links(await visit(house.boss, "/trades/list"), "/trades/details/")[0].rsplit("/", 1)[1]
    item = f"{watchlist.id};{ada.instrument.id}"
    return Vault(house, house.manager, watchlist, item, trade)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────

PAGES = (
    "/portfolios/list",
    "/portfolios/details/{portfolio}",
    "/portfolios/edit/{portfolio}",
    "/portfolios/create?like={portfolio}",
    "/portfolios/delete/{portfolio}",
    "/portfolios/history/{portfolio}",
    "/portfolios/export.csv",
    "/portfolios/export.jsonl",
    "/portfolios/export",
    "/portfolios/lookup?q=M",
    "/portfolio/{portfolio}",
    "/instruments/list",
    "/instruments/details/{instrument}",
    "/instruments/edit/{instrument}",
    "/instruments/create?like={instrument}",
    "/instruments/history/{instrument}",
    "/instruments/export.csv",
    "/instruments/lookup?q=A",
    "/instruments/lookup?q=xan",
    "/watchlists/details/{watchlist}",
    "/watchlists/edit/{watchlist}",
    "/watchlists/delete/{watchlist}",
    "/watchlists/history/{watchlist}",
    "/watchlist-items/list",
    "/watchlist-items/edit/{item}",
    "/trades/list",
    "/trades/new",
    "/positions/list",
    "/table-import-rows/list",
    "/changes/list",
    "/outbox/list",
    "/search?q=xan",
    "/search.json?q=xan",
    "/search?q=AAPL",
    "/",
    "/review",
)


def address(vault: Vault, path: str) -> str:
    return "/admin" + path.format(
        portfolio=vault.portfolio,
        instrument=vault.instrument,
        watchlist=vault.watchlist.id,
        item=vault.item,
        trade=vault.trade,
    )


async def import_into(
    client: AsyncClient, table: str, rows: str | bytes, *, name: str = "probe.csv", **choice: str
) -> Response:
    """Send a file through the import wizard's two steps."""
    files = {"file": (name, rows.encode() if isinstance(rows, str) else rows)}
    sent = await client.post(f"/admin/{table}/upload", files=files, headers=SAME)
    choice = {"do": "apply", "refused": "skip", **choice}
    form = Page(sent.text).form("/upload/step").submitted(**choice)
    return await client.post(f"/admin/{table}/upload/step", data=form, headers=SAME)


async def test_no_page_file_or_answer_holds_a_hidden_value(vault: Vault) -> None:
    changed = f"symbol,kind,quote_currency,name\nAAPL,stock,USD,{SECRET} 2\n"
    async with vault.db.read(system="probe") as unit:
        instrument = await unit.instruments.get(vault.house.ada.instrument.id)
    assert instrument.name == SECRET
    done = await import_into(vault.house.boss, "instruments", changed, mode="both")
    assert done.status_code == 303, Page(done.text).text
    imported = done.headers["location"]
    rows = await visit(vault.house.boss, "/table-import-rows/list")
    row = f"/admin{links(rows, '/table-import-rows/details/')[-1]}"
    paths = [*(address(vault, path) for path in PAGES), row]
    for path in (*paths, imported):
        assert SECRET not in (await vault.thief.get(path)).text, path
    seen = [path for path in paths if SECRET in (await vault.house.boss.get(path)).text]
    assert len(seen) > 15 and row in seen, "the same walk finds the values where they may be seen"


async def test_a_price_that_is_hidden_is_in_no_form_of_the_ledger_and_no_chart(
    vault: Vault,
) -> None:
    for path in ("/trades/{trade}/correct", "/trades/new"):
        answer = await vault.thief.get(address(vault, path))
        assert answer.status_code == 403 and "190.25" not in answer.text, path
    sent = await send(vault.thief, f"/trades/{vault.trade}/correct", {"price": "1"})
    assert sent.status_code == 403
    bars = await vault.thief.get(f"/admin/charts/bars/{vault.instrument}")
    assert bars.status_code == 403
    assert (await vault.house.boss.get(f"/admin/charts/bars/{vault.instrument}")).status_code == 200


async def test_events_of_all_tenants_are_not_told_to_whom_anything_is_hidden(
    vault: Vault,
) -> None:
    tenant = vault.house.ada.user.id
    for channel in ("staff:trade_recorded", f"events:trade_recorded:{tenant}"):
        heard = await vault.thief.get(f"/admin/live?channels={channel}")
        assert heard.status_code == 403, channel
    assert "data-live-alerts" not in (await visit(vault.thief, "/trades/list")).html
    assert "data-live-alerts" in (await visit(vault.house.boss, "/trades/list")).html


@pytest.mark.parametrize(
    "path",
    [
        "/portfolios/list?where=1:description.begins.xan",
        "/portfolios/list?where=1:or(name.is.Main,description.contains.ana)",
        "/portfolios/list?sort=description",
        "/portfolios/list?sort=name,-broker",
        "/portfolios/list?columns=name,description",
        "/portfolios/count?where=1:description.filled",
        "/portfolios/export.csv?where=1:description.begins.xan",
        "/portfolios/export.csv?field=description",
        "/trades/list?where=1:price.gt.100",
        "/trades/list?sort=-price",
        "/users/list?where=1:email.begins.ada",
        "/bars/list?where=1:close.gt.100",
        "/watchlist-items/list?where=1:note.begins.xan",
    ],
)
async def test_no_question_is_answered_with_a_hidden_value(vault: Vault, path: str) -> None:
    answer = await vault.thief.get(f"/admin{path}")
    assert answer.status_code in {400, 422}, path
    assert (await vault.house.boss.get(f"/admin{path}")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "unasked"),
    [
        ("/portfolios/list?broker=Nobody", "/portfolios/list"),
        ("/instruments/list?q=xanadu", "/instruments/list?q=Zzzz"),
        ("/instruments/lookup?q=xanadu", "/instruments/lookup?q=Zzzz"),
        ("/users/lookup?q=ada@example", "/users/lookup?q=zzz@example"),
        ("/users/list?q=ada@example", "/users/list?q=zzz@example"),
        ("/search.json?q=xanadu", "/search.json?q=Zzzzzz"),
        ("/search.json?q=ada@example", "/search.json?q=zzz@example"),
    ],
)
async def test_a_search_finds_nothing_by_a_hidden_value(
    vault: Vault, asked: str, unasked: str
) -> None:
    found, other = [await vault.thief.get(f"/admin{path}") for path in (asked, unasked)]
    assert _records(found) == _records(other)


def _records(answer: Response) -> list[str]:
    if "json" in answer.headers["content-type"]:
        return [str(item.get("link") or item.get("id")) for item in answer.json()]
    return [path for path in links(Page(answer.text), "/") if "/details/" in path]


async def test_a_saved_view_asks_no_more_than_its_reader_may(vault: Vault) -> None:
    for query in ("?where=1:description.begins.xan", "?sort=description"):
        data = {"query": query, "name": f"Mine {len(query)}"}
        assert (await send(vault.thief, "/portfolios/views", data)).status_code in {400, 422}
        shared = data | {"is_shared": "1", "name": f"Shared {len(query)}"}
        assert (await send(vault.house.boss, "/portfolios/views", shared)).status_code == 303
    page = await visit(vault.thief, "/portfolios/list?view=all")
    views = [link for link in page.addresses if "view=" in link and "view=all" not in link]
    assert views, "the shared views are offered"
    for link in views:
        answer = await vault.thief.get(link)
        assert SECRET not in answer.text and "/portfolios/details/" not in answer.text


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_smuggled_field_of_a_form_is_not_written(vault: Vault) -> None:
    path = f"/portfolios/edit/{vault.portfolio}"
    form = (await visit(vault.thief, path)).form()
    evil = {"description": "mine", "was:description": SECRET, "name": "mine", "was:name": "Main"}
    answer = await send(vault.thief, path, form.submitted(**evil))
    assert answer.status_code == 303
    stored = await vault.stored("portfolios", vault.house.ada.portfolio.id)
    assert (stored.name, stored.description) == ("Main", SECRET)


async def test_a_smuggled_field_of_a_new_record_is_not_written(vault: Vault) -> None:
    form = (await visit(vault.thief, "/watchlists/create")).form()
    evil = {"user_id": str(vault.house.ada.user.id), "name": "Theirs", "description": "mine"}
    assert (await send(vault.thief, "/watchlists/create", form.submitted(**evil))).is_redirect
    async with vault.db.read(system="probe") as unit:
        made = await unit.watchlists.one(unit.watchlists.query(Watchlist.name == "Theirs"))
    assert made.description is None


async def test_a_smuggled_field_of_a_line_is_not_written(vault: Vault) -> None:
    path = f"/watchlists/edit/{vault.watchlist.id}"
    page = await visit(vault.thief, path)
    form = page.form()
    prefix = f"watchlist-items|{vault.item}|"
    assert f"{prefix}sort_order" in form.values and f"{prefix}note" not in form.values
    evil = {f"{prefix}sort_order": "7"}
    for name, old in (("note", SECRET), ("target_price", "187.30")):
        evil |= {f"{prefix}{name}": "1", f"{prefix}was:{name}": old}
    assert (await send(vault.thief, path, form.submitted(**evil))).status_code == 303
    key = (vault.watchlist.id, vault.house.ada.instrument.id)
    stored = await vault.stored("watchlist_items", key)
    assert (stored.sort_order, stored.note, stored.target_price) == (7, SECRET, Decimal("187.30"))


@pytest.mark.parametrize(("table", "field"), [("instruments", "name"), ("instruments", "status")])
async def test_no_cell_is_opened_or_written(vault: Vault, table: str, field: str) -> None:
    path = f"/{table}/cells/{vault.instrument}?field={field}"
    opened = await vault.thief.get(f"/admin{path}")
    assert opened.status_code == 405 and SECRET not in opened.text
    sent = await send(vault.thief, path, {field: "halted", f"was:{field}": "active"})
    assert sent.status_code == 405


@pytest.mark.parametrize("field", ["description", "name", "user_id", "id", "version"])
async def test_nothing_is_written_into_many_that_is_not_written_into_one(
    vault: Vault, field: str
) -> None:
    data = {"action": "edit", "scope": "all", "query": "", "field": field, "text": "mine"}
    asked = await send(vault.thief, "/portfolios/bulk", data)
    assert asked.status_code == 200 and f'value="{field}"' not in asked.text
    started = await send(vault.thief, "/portfolios/bulk/start", data | {"count": "2"})
    assert started.status_code in {400, 422}, Page(started.text).text


async def test_many_are_not_chosen_by_a_hidden_value(vault: Vault) -> None:
    query = "?where=1:description.begins.xan"
    data = {"action": "delete", "scope": "all", "query": query, "count": "1"}
    for path in ("/watchlists/bulk", "/watchlists/bulk/start"):
        assert (await send(vault.thief, path, data)).status_code in {400, 422}, path
    assert await vault.stored("watchlists", vault.watchlist.id)


async def test_a_file_writes_no_field_that_a_form_does_not(vault: Vault) -> None:
    before = await vault.stored("instruments", vault.house.ada.instrument.id)
    rows = "symbol,kind,quote_currency,name,status,multiplier\nAAPL,stock,USD,mine,halted,2\n"
    for choice in ({}, {"map-name": "name", "map-status": "status"}):
        done = await import_into(vault.thief, "instruments", rows, mode="both", **choice)
        assert SECRET not in done.text
        stored = await vault.stored("instruments", vault.house.ada.instrument.id)
        assert (stored.name, stored.status) == (before.name, before.status)


async def test_a_restored_record_brings_hidden_values_back_unseen(vault: Vault) -> None:
    async with vault.db.transaction(staff="grace") as unit:
        ada = vault.house.ada.user.id
        gone = unit.watchlists.add(Watchlist(name="Gone", description=SECRET, user_id=ada))
        await unit.flush()
        key = gone.id
        await unit.watchlists.remove(gone)
    path = f"/watchlists/restore/{key}"
    page = await visit(vault.thief, path)
    assert "Gone" in page.text and SECRET not in page.html
    evil = {"description": "mine", "name": "mine"}
    assert (await send(vault.thief, path, evil)).status_code == 303
    stored = await vault.stored("watchlists", key)
    assert (stored.name, stored.description) == ("Gone", SECRET)


async def test_old_values_of_hidden_fields_are_not_filled_into_a_form(vault: Vault) -> None:
    async with vault.db.transaction(staff="grace") as unit:
        await unit.watchlists.patch(vault.watchlist.id, name="Seen again", description="other")
        await unit.watchlists.patch(vault.watchlist.id, name="Seen", description=SECRET)
    history = await visit(vault.thief, f"/watchlists/history/{vault.watchlist.id}")
    ways = [link for link in history.addresses if "restore=" in link]
    assert ways
    for way in ways:
        page = await visit(vault.thief, way.removeprefix("/admin"))
        assert SECRET not in page.html and "other" not in page.form().values.values()
