"""Lists that people save: theirs, shared, first, gone."""

from urllib.parse import unquote

from httpx2 import AsyncClient

from domain import Database
from domain.identity.models import Role, SavedView
from tests.admin.browsing import links, send, visit
from tests.admin.conftest import Enter
from tests.admin.records import make_everything

_QUERY = "?where=1:side.is.buy&sort=price&columns=price,side"


async def _saved(db: Database, name: str) -> SavedView:
    async with db.read(system="test") as unit:
        return await unit.saved_views.one(unit.saved_views.query(SavedView.name == name))


async def test_a_list_is_saved_opened_changed_and_deleted(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    page = await visit(boss, f"/trades/list{_QUERY}&after=&q=")
    form = page.form("/trades/views")
    answer = await send(boss, "/trades/views", form.submitted(name="  Cheap  buys ", is_shared=""))
    saved = await _saved(db, "Cheap buys")
    assert unquote(answer.headers["location"]) == f"/admin/trades/list{_QUERY}&view={saved.id}"
    page = await visit(boss, f"/trades/list?{saved.query}&view={saved.id}")
    assert len(links(page, "/trades/details/")) == 1
    change = f"/trades/views/{saved.id}"
    await send(boss, change, {"do": "update", "query": f"{_QUERY}&view={saved.id}&side=sell"})
    await send(boss, change, {"do": "rename", "name": "Sales", "query": _QUERY})
    assert (await _saved(db, "Sales")).query.endswith("columns=price,side&side=sell")
    refused = await send(boss, "/trades/views", {"name": "Sales", "query": ""})
    assert refused.status_code == 400 and "differ from your other views" in refused.text
    refused = await send(boss, "/trades/views", {"name": "Bad", "query": "?sort=nothing"})
    assert refused.status_code == 400 and "Sort must be a column" in refused.text
    await send(boss, change, {"do": "delete", "query": ""})
    assert "Sales" not in (await visit(boss, "/trades/list")).text


async def test_a_list_opens_with_the_view_that_was_chosen_first(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    for name, query in (("Buys", "?side=buy"), ("Sales", "?side=sell")):
        await send(boss, "/trades/views", {"name": name, "query": query})
        saved = await _saved(db, name)
        await send(boss, f"/trades/views/{saved.id}", {"do": "first", "query": query})
    answer = await boss.get("/admin/trades/list")
    assert answer.headers["location"] == f"/admin/trades/list?side=sell&view={saved.id}"
    assert len(links(await visit(boss, "/trades/list?view=all"), "/trades/details/")) == 2
    await send(boss, f"/trades/views/{saved.id}", {"do": "first", "query": "?side=sell"})
    await visit(boss, "/trades/list")


async def test_a_view_is_seen_by_others_once_it_is_shared_and_changed_by_nobody_else(
    db: Database, boss: AsyncClient, enter: Enter
) -> None:
    await make_everything(db)
    await send(boss, "/trades/views", {"name": "Buys", "query": "?side=buy"})
    saved = await _saved(db, "Buys")
    other = await enter(Role.VIEWER)
    assert "Buys" not in (await visit(other, "/trades/list")).text
    await send(boss, f"/trades/views/{saved.id}", {"do": "share", "query": ""})
    assert "Buys" in (await visit(other, "/trades/list")).text
    refused = await send(other, f"/trades/views/{saved.id}", {"do": "delete", "query": ""})
    assert refused.status_code == 403
    assert (await send(other, "/trades/views", {"name": "Buys", "query": ""})).status_code == 303
