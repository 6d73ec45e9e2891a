"""Every page of every kind of record: it opens, it shows no secret, and saving it changes nothing."""

import base64
import re

import pytest
from httpx2 import AsyncClient
from starlette.applications import Starlette

from admin.records import RecordView
from domain import Database
from domain.identity.models import Role
from tests.admin.browsing import Page, links, send, visit
from tests.admin.conftest import Enter
from tests.admin.records import CANARIES, content, make_everything

_RECORDS = 8


def views(app: Starlette) -> list[RecordView]:
    return list(app.state.site.records())


async def all_pages(client: AsyncClient, app: Starlette) -> dict[str, Page]:
    """Return every kind of page that a member of staff can open."""
    paths = ["/", "/trades/new", "/users/new"]
    for view in views(app):
        listing = await visit(client, f"/{view.identity}/list")
        # Everything that was made left a change: a few of them show how all of them look.
        records = links(listing, f"/{view.identity}/details/")[:_RECORDS]
        assert records, f"{view.identity}: no record to look at"
        paths += [f"/{view.identity}/list", *records]
        if view.has_history:
            paths.append(records[0].replace("/details/", "/history/"))
        if view.editable:
            paths += [path.replace("/details/", "/edit/") for path in records]
        if view.creatable:
            paths.append(f"/{view.identity}/create")
        if view.is_deletable:
            paths += [path.replace("/details/", "/delete/") for path in records]
        if view.identity == "trades":
            paths += [path.replace("/details", "") + "/correct" for path in records]
        if view.identity == "portfolios":
            paths += [path.replace("/portfolios/details", "/portfolio") for path in records]
    return {path: await visit(client, path) for path in paths}


async def test_opening_and_saving_every_form_changes_nothing(
    db: Database, app: Starlette, boss: AsyncClient
) -> None:
    await make_everything(db)
    before = await content(db)
    pages = await all_pages(boss, app)
    edits = [path for path in pages if "/edit/" in path]
    assert {path.split("/")[1] for path in edits} == {v.identity for v in views(app) if v.editable}
    for path in edits:
        response = await send(boss, path, pages[path].form().submitted())
        assert response.status_code == 303, (path, Page(response.text).text)
    assert await content(db) == before


async def test_no_page_has_inline_code_or_leads_elsewhere(
    db: Database, app: Starlette, boss: AsyncClient, nobody: AsyncClient
) -> None:
    await make_everything(db)
    pages = await all_pages(boss, app)
    pages["/login"] = await visit(nobody, "/login")
    pages["/nothing"] = await visit(boss, "/nothing/list", status=404)
    for path, page in pages.items():
        assert page.inline == [], path
        outside = [item for item in page.addresses if item and not re.match(r"(/(?!/)|[?#])", item)]
        assert outside == [], path
        assert "<script>alert" not in page.html and "<b>Lovelace" not in page.html, path


async def test_no_secret_is_on_any_page_or_in_any_export(
    db: Database, app: Starlette, boss: AsyncClient
) -> None:
    await make_everything(db)
    shown = {path: page.html for path, page in (await all_pages(boss, app)).items()}
    for view in views(app):
        export = await boss.get(f"/admin/{view.identity}/export.csv")
        assert export.status_code == 200
        shown[f"export of {view.identity}"] = export.text
    values = [value.encode() if isinstance(value, str) else value for value in CANARIES.values()]
    forms = [
        form for value in values for form in (value, value.hex().encode(), base64.b64encode(value))
    ]
    for path, html in shown.items():
        leaked = [form for form in forms if form in html.encode() or b"CANARY" in html.encode()]
        assert leaked == [], path


async def test_a_reader_sees_every_page_without_a_way_to_write(
    db: Database, app: Starlette, enter: Enter
) -> None:
    await make_everything(db)
    reader = await enter(Role.VIEWER)
    for view in views(app):
        listing = await visit(reader, f"/{view.identity}/list")
        records = links(listing, f"/{view.identity}/details/")[:_RECORDS]
        for page in [listing, *[await visit(reader, path) for path in records]]:
            posting = {form.action for form in page.forms if form.method == "post"}
            # Views that people save for themselves are all that a reader writes.
            assert posting - {f"/admin/{view.identity}/views"} == {"/admin/logout"}
            written = [
                a for a in page.addresses if re.search(r"/(edit|create|delete|new|correct)\b", a)
            ]
            assert written == []


@pytest.mark.parametrize(
    "path",
    [
        "/trades/details/not-a-uuid",
        "/trades/details/00000000-0000-7000-8000-000000000000",
        "/trades/details/%00",
        "/outbox/details/99999999999999999999999999",
        "/outbox/details/9223372036854775807",
        "/currencies/details/XXXX",
        "/equity/details/one;two;three",
        "/bars/details/00000000-0000-7000-8000-000000000000;1d;0001-01-01T00:00:00+14:00;x",
        "/bars/details/00000000-0000-7000-8000-000000000000;1d;2024-01-01T00:00:00;x",
        "/bars/details/00000000-0000-7000-8000-000000000000;never;2024-01-01T00:00:00Z;x",
        "/fx-rates/details/EUR;USD;99999-01-01;ecb",
        "/portfolio/nothing",
        "/nothing/list",
        "/instruments/edit/nothing",
        "/trades/nothing/correct",
    ],
)
async def test_a_key_that_is_none_is_a_friendly_404(boss: AsyncClient, path: str) -> None:
    page = await visit(boss, path, status=404)
    assert "There is no such" in page.text
    assert "Traceback" not in page.html and "SELECT" not in page.html
