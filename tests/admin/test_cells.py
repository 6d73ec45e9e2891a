"""One field changed in its list: written like a form, refused like a form."""

from httpx2 import AsyncClient

from domain import Database
from domain.identity.models import Role
from tests.admin.browsing import Page, send, visit
from tests.admin.conftest import Enter
from tests.admin.records import content
from tests.factories.market import make_instrument


async def test_a_field_is_changed_where_it_stands(db: Database, boss: AsyncClient) -> None:
    async with db.transaction(system="test") as unit:
        instrument = await make_instrument(unit, "AAPL", name="Apple")
    listing = await visit(boss, "/instruments/list")
    assert f"/admin/instruments/edit/{instrument.id}#name" in listing.html
    path = f"/instruments/cells/{instrument.id}?field=name"
    first, second = await visit(boss, path), await visit(boss, path)
    answer = await send(boss, path, first.form().submitted(name="Apple & <b>Co"))
    assert answer.status_code == 200 and "Apple &amp; &lt;b&gt;Co" in answer.text
    # Who looked before that change sees it, and overwrites it only knowingly.
    stale = await send(boss, path, second.form().submitted(name="Mine"))
    assert stale.status_code == 409 and "Apple &amp; &lt;b&gt;Co" in stale.text
    again = await send(boss, path, Page(stale.text).form().submitted())
    assert again.status_code == 200 and "Mine" in again.text
    async with db.read(system="test") as unit:
        assert (await unit.instruments.get(instrument.id)).name == "Mine"


async def test_only_declared_fields_are_changed_and_only_to_what_they_hold(
    db: Database, boss: AsyncClient, enter: Enter
) -> None:
    async with db.transaction(system="test") as unit:
        instrument = await make_instrument(unit, "AAPL", name="Apple")
    reader = await enter(Role.VIEWER)
    before = await content(db)
    path = f"/instruments/cells/{instrument.id}"
    status = await visit(boss, f"{path}?field=status")
    wrong = await send(boss, f"{path}?field=status", status.form().submitted(status="asleep"))
    assert wrong.status_code == 422 and "must be one of the choices" in Page(wrong.text).text
    for field in ("symbol", "id", "nothing", ""):
        assert (await send(boss, f"{path}?field={field}")).status_code == 405, field
    assert (await send(reader, f"{path}?field=name")).status_code == 403
    assert "edit-cell" not in (await visit(reader, "/instruments/list")).html
    after = await content(db)
    assert after["market.instruments"] == before["market.instruments"]
