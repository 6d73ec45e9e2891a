"""Chromium under attack: forms and pictures of other sites do nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page
from starlette.applications import Starlette

from domain import Database
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from tests.admin.browsing import key_of
from tests.admin.conftest import app
from tests.admin.test_browser import chromium, pytestmark, served
from tests.factories.trading import open_account
from tests.security.conftest import PASSWORD

__all__ = ["app", "pytestmark"]

EVIL = """<!doctype html><title>Evil</title>
<img src="{target}/admin/logout"><img src="{target}/admin/portfolios/delete/{portfolio}">
<form method="post" action="{target}{action}">
<input name="username" value="mallory"><input name="password" value="{password}">
<input name="name" value="Evil"><input name="was:name" value="Main"></form>
<script>document.forms[0].submit()</script>"""


@asynccontextmanager
async def another_site(pages: dict[str, str]) -> AsyncIterator[int]:
    """Serve pages at another port; ``localhost`` is another site than 127.0.0.1, too."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = pages.get(line, "").encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def log_in(page: Page, address: str) -> None:
    await page.goto(f"{address}/admin/login")
    await page.fill("#username", "grace")
    await page.fill("#password", PASSWORD)
    await page.click("button.primary")
    await page.wait_for_url(f"{address}/admin/")


async def test_other_sites_change_nothing(app: Starlette, db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        await create_user(unit, "grace", password=PASSWORD, role=Role.ADMIN)
        await create_user(unit, "mallory", password=PASSWORD, role=Role.ADMIN)
    portfolio = key_of(account.portfolio)
    async with served(app) as address, chromium() as browser:
        await _attack(browser, address, portfolio)
    async with db.read(system="test") as unit:
        stored = await unit.portfolios.get(account.portfolio.id)
        mallory = await unit.users.named("mallory")
    assert (stored.name, mallory.last_login_at) == ("Main", None)


async def _attack(browser: Browser, address: str, portfolio: str) -> None:
    actions = [
        "/admin/login",
        "/admin/logout",
        f"/admin/portfolios/edit/{portfolio}",
        f"/admin/portfolios/delete/{portfolio}",
        "/admin/account/sessions/revoke-others",
    ]
    pages = {
        f"/{number}": EVIL.format(
            target=address, action=action, portfolio=portfolio, password=PASSWORD
        )
        for number, action in enumerate(actions)
    }
    page = await browser.new_page()
    await log_in(page, address)
    async with another_site(pages) as port:
        # The same site at another port, and another site: both carry their own cookies here.
        for host in ("127.0.0.1", "localhost"):
            for path in pages:
                async with page.expect_navigation(url=lambda url: url.startswith(address)):
                    await page.goto(f"http://{host}:{port}{path}", wait_until="commit")
                assert "another site" in await page.inner_text("body"), (host, path)
    await page.goto(f"{address}/admin/account")
    assert "grace" in await page.inner_text(".who"), "nobody was logged out or in"
    await page.close()
