"""What people come for, in a real browser, from the login to the export; three with keys alone."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from pydantic import SecretStr
from starlette.applications import Starlette

from admin.app import create_app
from domain import Database
from domain.clock import now
from domain.demo import files
from domain.identity import one_time
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.identity.signing_in import Visitor, open_session, resume_session
from domain.settings import Settings
from tests.admin.conftest import LIFETIME
from tests.admin.records import make_everything
from tests.admin.test_browser import PASSWORD, Watched, chromium, pytestmark, served
from tests.factories.trading import Account

__all__ = ["pytestmark"]

_KEYS = "k1:" + "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="


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


@pytest.fixture
async def account(db: Database) -> Account:
    made = await make_everything(db)
    async with db.transaction(system="test") as unit:
        await create_user(unit, "grace", password=PASSWORD, role=Role.ADMIN)
    return made


class Desk:
    """Somebody in front of the admin."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.page: Page = watched.page

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.watched.address}/admin{path}")

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def find(self, text: str) -> None:
        """Open what is found under this text, with keys alone."""
        await self.press("Control+k")
        await self.page.keyboard.type(text)
        option = self.page.locator("dialog.palette [role=option]").first
        await expect(option).to_contain_text(text)
        async with self.page.expect_navigation():
            await self.press("Enter")


async def logs_in_with_a_second_step(desk: Desk) -> None:
    page = desk.page
    await desk.go("/")
    await page.fill("#username", "grace")
    await page.fill("#password", PASSWORD)
    await page.click("button.primary")
    await desk.go("/account/second-step")
    secret = (await page.locator(".key code").inner_text()).replace(" ", "")
    step = one_time.step_of(now())
    await page.fill("#code", one_time.code_at(secret, step - 1))
    await page.click("text=Add second step")
    await page.wait_for_selector("text=recovery codes")
    await page.click("text=Log out")
    await page.fill("#username", "grace")
    await page.fill("#password", PASSWORD)
    await page.click("button.primary")
    await page.fill("#code", one_time.code_at(secret, one_time.step_of(now())))
    await page.click("button.primary")
    await expect(page.locator("h1")).to_have_text("Dashboard")


async def finds_a_trade_with_keys_alone(desk: Desk) -> None:
    await desk.press("g", "t")
    await desk.page.wait_for_url("**/trades/list")
    await desk.press("j", "Enter")
    await desk.page.wait_for_url("**/trades/details/**")
    await expect(desk.page.locator("h1")).to_contain_text("AAPL @")


async def corrects_it(desk: Desk) -> None:
    page = desk.page
    await page.click("text=Correct")
    await page.fill("#price", "191.5")
    await page.click("form.form button.primary")
    await expect(page.locator("h1")).to_contain_text("191.50")
    await page.click("text=History")
    await expect(page.locator("main")).to_contain_text("grace")


async def imports_a_file(desk: Desk, account: Account, folder: Path) -> None:
    page, file = desk.page, folder / "history.csv"
    file.write_bytes(files.content(files.TASTYTRADE))
    await desk.go(f"/imports/new?portfolio_id={account.portfolio.id}")
    await page.select_option("#broker", "tastytrade")
    await page.set_input_files("#file", file)
    await page.click("text=Look at it")
    await expect(page.locator("main")).to_contain_text("Nothing has been written yet")
    await page.click("text=/^Book /")
    await page.wait_for_url("**/imports/details/**")
    await expect(page.locator("main")).to_contain_text("Revert import")


async def reads_a_portfolio(desk: Desk, account: Account) -> None:
    await desk.find("Main")
    await desk.go(f"/portfolio/{account.portfolio.id}")
    await expect(desk.page.locator("h1")).to_have_text("Main")


async def writes_a_journal_entry_with_keys_alone(desk: Desk, account: Account) -> None:
    page = desk.page
    await desk.press("g", "j")
    await page.wait_for_url("**/journal-entries/list")
    await desk.press("n")
    await page.wait_for_url("**/journal-entries/create")
    await page.focus("#user_id")
    await page.keyboard.type(account.user.username)
    await expect(page.locator("ul.options:visible li")).to_have_count(1)
    await desk.press("Enter")
    await page.focus("#title")
    await page.keyboard.type("Patience paid")
    await page.focus("#notes")
    await page.keyboard.type("Waited for the retest.")
    await page.focus("#title")
    await desk.press("Enter")
    await expect(page.locator("h1")).to_have_text("Patience paid")


async def attaches_a_picture(desk: Desk, folder: Path) -> None:
    page, picture = desk.page, folder / "chart.png"
    await page.screenshot(path=picture)
    await page.set_input_files("input[type=file]", picture)
    await page.fill("[name=caption]", "The retest")
    await page.click("text=Attach")
    await expect(page.locator("figure img")).to_have_count(1)
    width = await page.locator("figure img").evaluate(
        "img => img.decode().then(() => img.naturalWidth)"
    )
    assert width > 0


async def acknowledges_an_alert_with_keys_alone(desk: Desk) -> None:
    page = desk.page
    await desk.find("Alert events")
    await desk.press("j", "Enter")
    await page.wait_for_url("**/alert-events/details/**")
    await page.get_by_role("button", name="Acknowledge").focus()
    await desk.press("Enter")
    await expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)


async def saves_a_view(desk: Desk) -> None:
    page = desk.page
    await desk.go("/trades/list?side=buy")
    await page.click("summary:has-text('Save view')")
    form = page.locator("form[action$='/trades/views']")
    await form.locator("[name=name]").fill("Purchases")
    await form.get_by_role("button", name="Save").click()
    await expect(page.locator("nav.tabs .current")).to_contain_text("Purchases")


async def takes_the_list_away(desk: Desk, folder: Path) -> None:
    page = desk.page
    await page.get_by_role("link", name="Export", exact=True).click()
    async with page.expect_download() as waiting:
        await page.click("main form button.primary")
    file = folder / "export.csv"
    await (await waiting.value).save_as(file)
    head, *rows = file.read_text(encoding="utf-8-sig").splitlines()
    assert "executed_at" in head
    assert rows and all(re.search(r"\bbuy\b", row) for row in rows)


async def ends_another_login(desk: Desk, db: Database) -> None:
    page = desk.page
    async with db.transaction(system="test") as unit:
        grace = await unit.users.named("grace")
        elsewhere = Visitor(ip="203.0.113.9", user_agent="A forgotten laptop")
        token = await open_session(unit, grace, LIFETIME, elsewhere)
    await desk.go("/account")
    await expect(page.locator("main")).to_contain_text("A forgotten laptop")
    async with page.expect_navigation():
        await page.get_by_role("button", name="End", exact=True).first.click()
    await expect(page.locator("main")).not_to_contain_text("A forgotten laptop")
    async with db.transaction(system="test") as unit:
        assert await resume_session(unit, token, LIFETIME) is None
    await desk.go("/sessions/list")


async def test_ten_journeys(app: Starlette, db: Database, account: Account, tmp_path: Path) -> None:
    async with served(app) as address, chromium() as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        desk = Desk(Watched(page, address))
        await logs_in_with_a_second_step(desk)
        await finds_a_trade_with_keys_alone(desk)
        await corrects_it(desk)
        await imports_a_file(desk, account, tmp_path)
        await reads_a_portfolio(desk, account)
        await writes_a_journal_entry_with_keys_alone(desk, account)
        await attaches_a_picture(desk, tmp_path)
        await acknowledges_an_alert_with_keys_alone(desk)
        await saves_a_view(desk)
        await takes_the_list_away(desk, tmp_path)
        await ends_another_login(desk, db)
        assert (desk.watched.complaints, desk.watched.outside) == ([], [])
