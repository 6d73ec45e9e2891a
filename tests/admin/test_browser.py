"""A real browser: pages work under the strict policy, in both themes, at the width of a phone."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect
from starlette.applications import Starlette

from domain import Database
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from tests.admin.records import make_everything
from tests.factories.trading import Account, open_account

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
PASSWORD = "correct horse battery staple"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get("TRADEKEEP_REQUIRE_BROWSER"),
        reason="chromium was not found; install it to run the browser tests",
    ),
]


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Serve an application that is started already, and give its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                await asyncio.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


class Watched:
    """A page that notes every complaint and every request that leaves the host."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.outside: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._request)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith(self.address):
            self.outside.append(request.url)

    async def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return int(
            await self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    async def ground(self) -> str:
        return str(await self.page.evaluate("getComputedStyle(document.body).backgroundColor"))


async def log_in(watched: Watched) -> None:
    page = watched.page
    await page.goto(f"{watched.address}/admin/")
    await page.fill("#username", "grace")
    await page.fill("#password", PASSWORD)
    await page.click("button[type=submit]")
    await page.wait_for_url("**/admin/")


async def enrolled(db: Database) -> Account:
    account = await make_everything(db)
    async with db.transaction(system="test") as unit:
        await create_user(unit, "grace", password=PASSWORD, role=Role.ADMIN)
    return account


async def test_a_day_in_the_admin(app: Starlette, db: Database) -> None:
    await enrolled(db)
    async with served(app) as address, chromium() as browser:
        watched = Watched(await browser.new_page(viewport={"width": 390, "height": 844}), address)
        page = watched.page
        await log_in(watched)
        assert await page.locator("svg.chart path.line").count() == 1

        light = await watched.ground()
        await page.click("[data-theme-toggle]")
        dark = await watched.ground()
        assert dark != light
        await page.reload()
        assert await watched.ground() == dark

        await page.goto(f"{address}/admin/trades/list")
        await page.click("[data-menu]")
        await page.click("nav >> text=Trades")
        await page.locator("tbody a").first.click()
        assert "AAPL @" in await page.locator("h1").inner_text()
        assert await watched.overflow() <= 0
        assert (watched.complaints, watched.outside) == ([], [])


async def test_a_list_is_narrowed_by_typing_and_the_menu_remembers(
    app: Starlette, db: Database
) -> None:
    await enrolled(db)
    await open_account(db, "mary", symbol="MSFT")
    async with served(app) as address, chromium() as browser:
        watched = Watched(await browser.new_page(), address)
        page = watched.page
        await log_in(watched)
        await page.click("summary >> text=Agents")
        await page.goto(f"{address}/admin/ticks/list")
        assert await page.locator("nav >> text=Leaderboard").is_visible()

        filters = page.locator("form.filters")
        picker = filters.get_by_label("Instrument")
        await picker.press_sequentially("ms")
        await page.keyboard.press("Enter")
        assert page.url.endswith("/ticks/list"), "what was offered for another text is not taken"
        offered = page.locator("ul.options:visible li")
        await expect(offered).to_have_text(["MSFT"])
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=Nothing matches.")
        assert await filters.get_by_label("Instrument", exact=True).input_value() == "MSFT"
        assert (watched.complaints, watched.outside) == ([], [])


async def test_a_list_is_narrowed_by_groups_arranged_and_changed_in_place(
    app: Starlette, db: Database
) -> None:
    await enrolled(db)
    await open_account(db, "mary", symbol="MSFT")
    async with served(app) as address, chromium() as browser:
        watched = Watched(await browser.new_page(), address)
        page = watched.page
        await log_in(watched)
        await page.goto(f"{address}/admin/instruments/list")
        await page.click("summary >> text=Conditions")
        rule = page.locator("[data-rule]")
        await rule.nth(0).locator("[data-rule-column]").select_option("kind")
        await rule.nth(0).locator("select[data-editor]").select_option("stock")
        await page.click("[data-rules-add]")
        for place, symbol in ((1, "MSFT"), (2, "NVDA")):
            await rule.nth(place).locator("[data-rule-column]").select_option("symbol")
            await rule.nth(place).locator("[data-rule-value]").fill(symbol)
            if place == 1:
                await page.locator("[data-rule-add]").first.click()
        await page.click("text=Apply")
        await page.wait_for_url("**/instruments/list?where=1:kind.is.stock,or(**")
        await expect(page.locator("tbody tr")).to_have_count(1)

        await page.click("summary >> text=Columns")
        await page.locator("li", has_text="Name").locator("[data-up]").first.click()
        await page.click("text=Show these")
        await page.wait_for_url("**columns=symbol,name,**")

        await page.locator("tbody tr").hover()
        await page.locator("[data-cell$='field=name'] .edit-cell").click()
        await page.fill(".cell-form input[name=name]", "Microsoft")
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-cell$='field=name']")).to_contain_text("Microsoft")
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.click("summary >> text=Conditions")
        assert await watched.overflow() <= 0
        assert (watched.complaints, watched.outside) == ([], [])


async def test_a_reference_is_chosen_by_typing_and_a_danger_asks_first(
    app: Starlette, db: Database
) -> None:
    account = await enrolled(db)
    async with served(app) as address, chromium() as browser:
        watched = Watched(await browser.new_page(), address)
        page = watched.page
        await log_in(watched)
        await page.goto(f"{address}/admin/trades/new")
        for label, typed in (("Portfolio", "ma"), ("Instrument", "aa")):
            await page.get_by_label(label).press_sequentially(typed)
            await page.locator("ul.options:visible li").first.wait_for()
            await page.keyboard.press("ArrowDown")
            await page.keyboard.press("Enter")
        await page.select_option("#side", "buy")
        await page.fill("#quantity", "3")
        await page.fill("#price", "200")
        await page.fill("#executed_at", "2024-03-20 15:00:00+00:00")
        await page.click("text=Book trade")
        await expect(page.locator("h1")).to_have_text("Buy 3 AAPL @ 200.00")

        page.once("dialog", lambda dialog: asyncio.ensure_future(dialog.dismiss()))
        await page.fill("input[name=reason]", "fat finger")
        await page.click("text=Bust trade")
        async with db.read(system="test") as unit:
            (position,) = await unit.positions.all()
        assert position.quantity > 9, "nothing was busted"
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await page.click("text=Bust trade")
        await page.wait_for_selector("text=it was busted")
        assert (watched.complaints, watched.outside) == ([], [])
        assert account.portfolio.name == "Main"
