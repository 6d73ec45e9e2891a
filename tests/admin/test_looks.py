"""Every kind of page in a real browser, light and dark: open to all, whole on a phone, nobody's guest.

With ``TRADEKEEP_SCREENSHOTS=<folder>`` the pages hold the demo, and a picture of each is kept there
as WebP: ``<page>-<theme>-<width>.webp``. ``make screenshots`` refreshes those of the guide with it.
"""

import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Response,
    ViewportSize,
    expect,
)
from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import delete
from starlette.applications import Starlette

from admin.app import create_app
from domain import Database
from domain.clock import now
from domain.demo.loading import load_demo
from domain.identity import one_time
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.identity.second_factors import begin_enrolment, finish_enrolment
from domain.journal.models import Attachment
from domain.market.models import FxRate, Tick
from domain.settings import Settings
from tests import accessibility
from tests.admin.browsing import links, visit
from tests.admin.conftest import browser as client_of
from tests.admin.conftest import token_of
from tests.admin.looks import LOOKS, PASSWORD, READING, WRITING, Look, Room
from tests.admin.records import make_everything
from tests.admin.test_browser import Watched, chromium, pytestmark, served

__all__ = ["pytestmark"]

_KEYS = "k1:" + "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="
_PICTURES = os.environ.get("TRADEKEEP_SCREENSHOTS")
_PEOPLE = {Role.ADMIN: "grace", Role.VIEWER: "viewer-of-the-long-term-desk"}
_PATIENCE = 20_000
"""Milliseconds for what comes at once on a machine that does nothing else."""

_DESKTOP = ViewportSize(width=1440, height=900)
_PHONE = ViewportSize(width=390, height=844)
_TURN = """theme => {
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("themechange"));
}"""

_WANTED = {"instruments": "?q=AAPL", "users": "?q=demo", "portfolios": "?sort=created_at"}
"""Which of the demo's records are shown: those with most to see."""


@pytest.fixture
async def app(migrated_database: str, tmp_path: Path) -> AsyncIterator[Starlette]:
    settings = Settings(
        statement_timeout=20,
        pool_size=4,
        encryption_keys=SecretStr(_KEYS),
        storage_url=f"file://{tmp_path / 'objects'}",
    )
    application = create_app(settings, url=migrated_database)
    async with application.router.lifespan_context(application):
        yield application


async def furnish(app: Starlette, db: Database) -> None:
    """Put a record of everything into the database, or the demo; and people."""
    if _PICTURES:
        await load_demo(app.state.db, Console(quiet=True))
    else:
        await make_everything(db)
        async with db.transaction(system="test") as unit:
            # Its bytes are nowhere.
            await unit.session.execute(delete(Attachment))
    keyring = app.state.site.sign_in.keyring
    async with db.transaction(system="test") as unit:
        for model in (Tick, FxRate):
            await unit.session.execute(delete(model))
        grace = await create_user(unit, "grace", password=PASSWORD, role=Role.ADMIN)
        grace.name, grace.email = "Grace Hopper", "grace@example.com"
        second = await create_user(unit, "second", password=PASSWORD, role=Role.ADMIN)
        enrolment = await begin_enrolment(unit, keyring, second)
        code = one_time.code_at(enrolment.secret, one_time.step_of(now()))
        verdict, _ = await finish_enrolment(unit, keyring, second, code)
        assert verdict.is_good


async def keys_of(app: Starlette, token: str) -> dict[str, str]:
    """Return the key of one record of every table that a look is at."""
    tables = {name for look in LOOKS for name in re.findall(r"\{([\w-]+)\}", look.path)}
    async with client_of(app, cookies={"tradekeep": token}) as client:
        found = {}
        for table in tables:
            listing = await visit(
                client, f"/{table}/list{_WANTED.get(table, '') if _PICTURES else ''}"
            )
            found[table] = links(listing, f"/{table}/details/")[0].split("/details/")[1]
    return found


class Eye(Watched):
    """A page that notes what the browser complains of, but not the status that a page is to have."""

    def __init__(self, page: Page, address: str) -> None:
        self.documents: set[str] = set()
        super().__init__(page, address)
        page.on("response", self._answered)

    def _answered(self, response: Response) -> None:
        if response.request.is_navigation_request():
            self.documents.add(response.url)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} <{message.location['url']}>")

    def heard(self, expected_of: str) -> list[str]:
        """Return what was complained of since the last time, but not of this address."""
        expected = {
            text
            for text in self.complaints
            if "the server responded with a status of" in text
            and text.rpartition(" <")[2].removesuffix(">") in self.documents
        }
        expected |= {text for text in self.complaints if expected_of and expected_of in text}
        found = [text for text in self.complaints if text not in expected] + self.outside
        self.complaints.clear()
        self.outside.clear()
        return found


class Judge:
    """Looks at pages and keeps what is wrong with them.

    Args:
        room: Where they are.
        eye: The watched page.
    """

    def __init__(self, room: Room, eye: Eye) -> None:
        self.room = room
        self.eye = eye
        self.faults: dict[str, list[str]] = {}

    async def judge(self, look: Look, path: str) -> None:
        """Look at a page in both themes and at both widths."""
        page = self.room.page
        widths = (_DESKTOP, _PHONE)[look.is_phone :]
        await page.set_viewport_size(widths[0])
        status = await self.room.go(path)
        faults = [] if status == look.status else [f"answers {status}"]
        try:
            if look.act:
                await look.act(self.room)
            await expect(page.locator("[data-chart][aria-busy=true]")).to_have_count(0)
        except (AssertionError, Error) as error:
            faults.append(str(error))
        faults += await accessibility.violations(page)
        await self._turn("dark")
        faults += await accessibility.contrasts(page)
        for width in widths:
            await page.set_viewport_size(width)
            if (wider := await self.eye.overflow()) > 0:
                faults.append(f"is {wider} pixels wider than {width['width']}")
            for theme in ("dark", "light") if _PICTURES else ():
                await self._turn(theme)
                await self._picture(f"{look.name}-{theme}-{width['width']}")
        await page.context.set_offline(False)
        if found := faults + self.eye.heard(look.heard):
            self.faults[look.name] = found

    async def _turn(self, theme: str) -> None:
        await self.room.page.evaluate(_TURN, theme)

    async def _picture(self, name: str) -> None:
        page, size = self.room.page, self.room.page.viewport_size
        assert size is not None
        await page.wait_for_timeout(120)  # charts follow the width a moment later
        session = await page.context.new_cdp_session(page)
        shot = await session.send(
            "Page.captureScreenshot",
            {"format": "webp", "quality": 82, "clip": {"x": 0, "y": 0, "scale": 1, **size}},
        )
        await session.detach()
        (Path(str(_PICTURES)) / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def entered(browser: Browser, token: str | None) -> AsyncIterator[BrowserContext]:
    """Open a window, of somebody who is logged in or of nobody."""
    context = await browser.new_context(color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(_PATIENCE)
    expect.set_options(timeout=_PATIENCE)
    if token:
        await context.add_cookies(
            [{"name": "tradekeep", "value": token, "url": "http://127.0.0.1"}]
        )
    yield context
    await context.close()


@pytest.mark.skipif(
    accessibility.missing() is not None and not os.environ.get("TRADEKEEP_REQUIRE_NODE"),
    reason=accessibility.missing() or "",
)
@pytest.mark.parametrize("half", [READING, WRITING], ids=["reading", "writing"])
async def test_every_kind_of_page_is_whole(
    app: Starlette, db: Database, half: tuple[Look, ...]
) -> None:
    await furnish(app, db)
    tokens = {role: await token_of(db, name, role) for role, name in _PEOPLE.items()}
    keys = await keys_of(app, tokens[Role.ADMIN])
    faults: dict[str, list[str]] = {}
    async with served(app) as address, chromium() as browser:
        for role in (*tokens, None):
            async with entered(browser, tokens[role] if role else None) as context:
                page = await context.new_page()
                room = Room(db, page, f"{address}/admin", app.state.site.sign_in.throttle)
                judge = Judge(room, Eye(page, address))
                for look in half:
                    if look.role is role and (_PICTURES or not look.is_twin):
                        await judge.judge(look, look.path.format_map(keys))
                faults |= judge.faults
    assert not faults, "\n".join(f"{name}: {found}" for name, found in faults.items())
