"""Every kind of page that the admin shows, and how somebody comes to see it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Page, Route, expect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from admin.throttling import account_claim
from domain import Database
from domain.cache.throttling import Throttle
from domain.clock import now
from domain.demo import files
from domain.identity import one_time
from domain.identity.models import Role

PASSWORD = "correct horse battery staple"
INSTRUMENTS = (
    "symbol,kind,quote_currency,name,multiplier\n"
    "NVDA,stock,USD,NVIDIA Corp.,1\n"
    "ESH5,future,USD,E-mini S&P 500,fifty\n"
    "TLT,fund,USD,iShares 20+ Year Treasury,1\n"
)


@dataclass
class Room:
    """Where the pages are looked at.

    Args:
        db: The database behind them.
        page: The page of the browser.
        address: The address of the admin.
        throttle: What counts attempts to log in.
    """

    db: Database
    page: Page
    address: str
    throttle: Throttle

    async def go(self, path: str) -> int:
        """Open a page below the admin; return its status."""
        answer = await self.page.goto(f"{self.address}{path}")
        return answer.status if answer else 0

    async def press(self, words: str) -> None:
        """Press the button with these words and wait for the page behind it."""
        button = self.page.locator("main").get_by_role("button", name=words).first
        async with self.page.expect_navigation():
            await button.click()

    async def unfold(self, words: str) -> None:
        await self.page.locator("main summary", has_text=words).first.click()


Act = Callable[[Room], Awaitable[None]]


@dataclass(frozen=True)
class Look:
    """A kind of page.

    Args:
        name: What it is called, in pictures and complaints.
        path: Its address; ``{trades}`` is the key of a trade.
        act: What is done there before it is looked at.
        status: What it answers at first.
        role: Who looks; None: nobody is logged in.
        heard: What the browser is right to complain of: a part of the address.
        is_phone: Whether there is such a page at the width of a phone only.
        is_twin: Whether another look is of the same kind: this one is for pictures only.
    """

    name: str
    path: str
    act: Act | None = None
    status: int = 200
    role: Role | None = Role.ADMIN
    heard: str = ""
    is_phone: bool = False
    is_twin: bool = False


# ── what is done on a page ───────────────────────────────────────────────────────────────────────


def unfolding(words: str) -> Act:
    async def act(room: Room) -> None:
        await room.unfold(words)

    return act


def pressing(words: str) -> Act:
    async def act(room: Room) -> None:
        await room.press(words)

    return act


async def _log_in_wrongly(room: Room) -> None:
    await _type_password(room, "grace", "not my password")


async def _type_password(room: Room, name: str, password: str) -> None:
    await room.page.fill("#username", name)
    await room.page.fill("#password", password)
    async with room.page.expect_navigation():
        await room.page.click("button.primary")


async def _guess_too_often(room: Room) -> None:
    while not await room.throttle.attempt(account_claim("nobody")):
        pass
    await _type_password(room, "nobody", "a guess")


async def _ask_for_a_link(room: Room) -> None:
    await room.page.fill("#username", "grace")
    await room.press("Send me a link")


async def _add_a_second_step(room: Room) -> None:
    secret = (await room.page.locator(".key code").inner_text()).replace(" ", "")
    await room.page.fill("#code", one_time.code_at(secret, one_time.step_of(now()) - 1))
    await room.press("Add second step")


async def _reach_the_second_step(room: Room) -> None:
    await _type_password(room, "second", PASSWORD)


async def _send_a_wrong_code(room: Room) -> None:
    await room.page.fill("#code", "12")
    await room.press("Add second step")


async def _open_the_palette(room: Room) -> None:
    await room.page.keyboard.press("Control+k")
    await room.page.keyboard.type("aa")
    await expect(room.page.locator("dialog.palette [role=option]").first).to_be_visible()


async def _show_the_keys(room: Room) -> None:
    await room.page.keyboard.press("?")
    await expect(room.page.locator("dialog.palette")).to_be_visible()


async def _break_the_chart(room: Room) -> None:
    await room.page.route("**/charts/**", lambda route: route.fulfill(status=503))
    await room.page.reload()
    await expect(room.page.get_by_role("button", name="Try again")).to_be_visible()
    await room.page.unroute_all()


async def _repair_the_chart(room: Room) -> None:
    await _break_the_chart(room)
    await room.page.get_by_role("button", name="Try again").click()
    await expect(room.page.locator(".chart-stage canvas").first).to_be_visible()
    await expect(room.page.locator(".chart-note")).to_be_hidden()


async def _slow_the_chart(room: Room) -> None:
    gate = asyncio.Event()

    async def wait(route: Route) -> None:
        await gate.wait()
        await route.continue_()

    await room.page.route("**/charts/**", wait)
    await room.page.reload(wait_until="domcontentloaded")
    await expect(room.page.locator(".chart-note")).to_have_text("Reading the chart…")
    gate.set()
    await expect(room.page.locator(".chart-stage canvas").first).to_be_visible()
    await room.page.unroute_all()


async def _lose_the_connection(room: Room) -> None:
    await room.page.context.set_offline(True)
    await expect(room.page.locator(".offline")).to_contain_text("nothing can be saved")


async def _open_the_menu(room: Room) -> None:
    await room.page.click("[data-menu]")


async def _type_into_a_reference(room: Room) -> None:
    await room.page.focus("#instrument_id")
    await expect(room.page.locator("ul.options:visible li").first).to_be_visible()


async def _leave_out_what_is_needed(room: Room) -> None:
    await room.page.fill("#multiplier", "much")
    await room.press("Save")


async def _book_an_odd_trade(room: Room) -> None:
    await room.page.fill("#quantity", "-3")
    await room.page.fill("#price", "a lot")
    await room.press("Book trade")


async def _collide(room: Room) -> None:
    await room.page.fill("#name", "Long only")
    async with room.db.transaction(system="somebody else") as unit:
        key = room.page.url.rsplit("/", 1)[1]
        await unit.portfolios.patch(key, name="Long and short", description="Two books in one.")
    await room.page.fill("#description", "One book.")
    await room.press("Save")


async def _save_a_view(room: Room) -> None:
    await room.unfold("Save view")
    await room.page.locator("form[action$='/views'] [name=name]").fill("Purchases")
    await room.press("Save")
    await room.unfold("This view")


async def _edit_a_cell(room: Room) -> None:
    await room.page.locator("tbody tr").first.hover()
    await room.page.locator(".edit-cell").first.click()
    await expect(room.page.locator("td.editing")).to_be_visible()


async def _send_a_table(room: Room) -> None:
    file = {"name": "instruments.csv", "mimeType": "text/csv", "buffer": INSTRUMENTS.encode()}
    await room.page.set_input_files("#file", [file])  # type: ignore[list-item] - as documented
    await room.press("Look at it")


async def _try_the_rows(room: Room) -> None:
    await _send_a_table(room)
    await room.page.select_option("#refused", "skip")
    await room.press("Try all rows")


async def _import_the_rows(room: Room) -> None:
    await _try_the_rows(room)
    await room.press("Import")


async def _send_a_brokers_file(room: Room) -> None:
    content = files.content(files.TASTYTRADE) + b'2019-12-31T10:00:00-0500,"Trade","Buy, not"\n'
    await room.page.select_option("#broker", "tastytrade")
    file = {"name": files.TASTYTRADE, "mimeType": "text/csv", "buffer": content}
    await room.page.set_input_files("#file", [file])  # type: ignore[list-item] - as documented
    await room.press("Look at it")


async def _ask_for_many(room: Room) -> None:
    await room.page.select_option("[name=scope]", "all")
    await room.page.select_option("form.bulk [name=action]", "pause")
    await room.press("Go")


async def _do_many(room: Room) -> None:
    await _ask_for_many(room)
    await room.press("Pause")
    await expect(room.page.locator("main")).to_contain_text("Finished")


async def _make_a_key(room: Room) -> None:
    await room.page.fill("#name", "Night jobs")
    await room.press("Make key")


async def _choose_tenants(room: Room) -> None:
    await room.page.locator("tbody a").first.click()
    await room.page.wait_for_url("**/users/details/**")
    await room.page.locator("main a[href$='/tenants']").first.click()
    await expect(room.page.locator("main h1")).to_have_text("Tenants")


async def _hide_and_take_away(room: Room) -> None:
    await room.page.get_by_label("Lots: read").uncheck()


async def _change_it(room: Room) -> None:
    await room.page.fill("#description", "What I hold for years.")
    await room.press("Save")
    await room.page.click("text=History")
    await room.page.wait_for_url("**/history/**")


async def _give_back(room: Room) -> None:
    await room.page.get_by_role("link", name="Restore these values").first.click()
    await expect(room.page.locator("form.form")).to_be_visible()


async def _delete_and_restore(room: Room) -> None:
    await room.page.fill("#name", "Momentum")
    await room.page.focus("#user_id")
    await room.page.keyboard.type("grace")
    await expect(room.page.locator("ul.options:visible li")).to_have_count(1)
    await room.page.keyboard.press("Enter")
    await room.press("Save")
    await room.page.get_by_role("link", name="Delete", exact=True).click()
    await room.page.wait_for_url("**/delete/**")
    await room.press("Delete")
    await room.page.get_by_role("link", name="Deleted", exact=True).click()
    await room.page.locator("tbody a").first.click()
    await room.page.wait_for_url("**/changes/details/**")
    await room.page.get_by_role("link", name="History").click()
    await room.page.get_by_role("link", name="Restore").click()
    await expect(room.page.locator("main")).to_contain_text("It comes back")


async def _add_one_in_the_wizard(room: Room) -> None:
    await _add_a_second_step(room)
    await expect(room.page.locator("main")).to_contain_text("Recovery codes")


async def _take_a_table_away(room: Room) -> None:
    """A page whose table is gone is what people see when something broke."""
    engine = create_async_engine(room.db.engine.url)
    for source, target in (("currencies", "gone"), ("gone", "currencies")):
        async with engine.begin() as connection:
            await connection.execute(text(f"ALTER TABLE market.{source} RENAME TO {target}"))
        if target == "gone":
            assert await room.go("/currencies/list") == 500
    await engine.dispose()


_FROM_A_LIST = (
    Look("list", "/trades/list"),
    Look("list-narrowed", "/trades/list?side=buy&facets=1&from=2000-01-01"),
    Look("list-conditions", "/trades/list?where=1:side.is.buy,or(price.gt.100,fees.empty)",
         unfolding("Conditions")),
    Look("list-columns", "/trades/list", unfolding("Columns")),
    Look("list-saved-view", "/trades/list?side=buy", _save_a_view),
    Look("list-sorted", "/trades/list?sort=-price,executed_at", is_twin=True),
    Look("list-no-match", "/trades/list?q=zzzzzz"),
    Look("list-empty", "/ticks/list", is_twin=True),
    Look("list-empty-to-fill", "/fx-rates/list"),
    Look("list-wrong", "/trades/list?where=1:price.gt.much", status=400),
    Look("list-count", "/trades/list?count=exact", is_twin=True),
    Look("list-alerts", "/alerts/list", is_twin=True),
    Look("list-cell", "/alerts/list", _edit_a_cell),
    Look("list-positions", "/positions/list", is_twin=True),
    Look("list-instruments", "/instruments/list", is_twin=True),
    Look("list-users", "/users/list", is_twin=True),
    Look("list-changes", "/changes/list", is_twin=True),
    Look("list-bars", "/bars/list", is_twin=True),
    Look("leaderboard", "/leaderboard/list", is_twin=True),
    Look("journal", "/journal-entries/list", is_twin=True),
)  # fmt: skip

_FROM_A_RECORD = (
    Look("trade", "/trades/details/{trades}"),
    Look("portfolio-record", "/portfolios/details/{portfolios}", is_twin=True),
    Look("portfolio", "/portfolio/{portfolios}"),
    Look("position", "/positions/details/{positions}"),
    Look("instrument", "/instruments/details/{instruments}"),
    Look("agent", "/agents/details/{agents}"),
    Look("conversation", "/conversations/details/{conversations}"),
    Look("journal-entry", "/journal-entries/details/{journal-entries}"),
    Look("user", "/users/details/{users}"),
    Look("alert", "/alerts/details/{alerts}"),
    Look("alert-event", "/alert-events/details/{alert-events}", is_twin=True),
    Look("article", "/articles/details/{articles}", is_twin=True),
    Look("analysis", "/analyses/details/{analyses}"),
    Look("screener-run", "/screener-runs/details/{screener-runs}", is_twin=True),
    Look("watchlist", "/watchlists/details/{watchlists}", is_twin=True),
    Look("import", "/imports/details/{imports}", is_twin=True),
    Look("change", "/changes/details/{changes}", is_twin=True),
)

_CHANGING = (
    Look("create", "/portfolios/create"),
    Look("create-errors", "/instruments/create", _leave_out_what_is_needed),
    Look("edit", "/watchlists/edit/{watchlists}"),
    Look("edit-long", "/journal-entries/edit/{journal-entries}"),
    Look("conflict", "/portfolios/edit/{portfolios}", _collide),
    Look("trade-new", "/trades/new", _type_into_a_reference),
    Look("trade-errors", "/trades/new", _book_an_odd_trade),
    Look("trade-correct", "/trades/{trades}/correct", is_twin=True),
    Look("delete-protected", "/portfolios/delete/{portfolios}"),
    Look("delete", "/watchlists/delete/{watchlists}", is_twin=True),
    Look("history", "/portfolios/edit/{portfolios}", _change_it),
    Look("history-back", "/portfolios/history/{portfolios}", _give_back, is_twin=True),
    Look("restore", "/setups/create", _delete_and_restore),
)

_FILES = (
    Look("export", "/trades/export?side=buy"),
    Look("upload", "/instruments/upload", is_twin=True),
    Look("upload-mapping", "/instruments/upload", _send_a_table),
    Look("upload-errors", "/instruments/upload", _try_the_rows),
    Look("upload-done", "/instruments/upload", _import_the_rows, is_twin=True),
    Look("broker-file", "/imports/new?portfolio_id={portfolios}"),
    Look("broker-preview", "/imports/new?portfolio_id={portfolios}", _send_a_brokers_file),
    Look("bulk", "/alerts/list", _ask_for_many),
    Look("bulk-done", "/alerts/list", _do_many),
)

_PEOPLE = (
    Look("account", "/account"),
    Look("second-step-setup", "/account/second-step"),
    Look("second-step-wrong", "/account/second-step", _send_a_wrong_code, is_twin=True),
    Look("recovery-codes", "/account/second-step", _add_one_in_the_wizard),
    Look("key-new", "/account/keys/new"),
    Look("key-made", "/account/keys/new", _make_a_key),
    Look("confirm", "/account/confirm?next=/admin/permissions/viewer"),
    Look("sessions", "/sessions/list", is_twin=True),
    Look("keys", "/api-keys/list", is_twin=True),
    Look("user-new", "/users/new"),
    Look("user-reset", "/users/details/{users}", pressing("password")),
    Look("tenants", "/users/list?q=viewer", _choose_tenants),
    Look("permissions", "/permissions"),
    Look("role", "/permissions/viewer", _hide_and_take_away),
    Look("role-fields", "/permissions/viewer/trades"),
    Look("seeing-as", "/users/details/{users}", pressing("See Tradekeep as")),
)

_AROUND = (
    Look("dashboard", "/"),
    Look("palette", "/", _open_the_palette),
    Look("keys-of-the-board", "/", _show_the_keys),
    Look("menu", "/trades/list", _open_the_menu, is_phone=True),
    Look("search", "/search?q=a"),
    Look("search-nothing", "/search?q=zzzzzz", is_twin=True),
    Look("review", "/review"),
    Look("race", "/race"),
    Look("chart-slow", "/portfolio/{portfolios}", _slow_the_chart, heard="/charts/"),
    Look("chart-failed", "/portfolio/{portfolios}", _break_the_chart, heard="/charts/"),
    Look("chart-again", "/portfolio/{portfolios}", _repair_the_chart, heard="/charts/"),
    Look("offline", "/trades/new", _lose_the_connection, heard="/live"),
    Look("error-400", "/trades/list?sort=nothing", status=400, is_twin=True),
    Look("error-404", "/trades/details/00000000-0000-7000-8000-000000000000", status=404),
    Look("error-405", "/trades/edit/{trades}", status=405, is_twin=True),
    Look("error-500", "/", _take_a_table_away),
    Look("error-403", "/permissions/viewer", status=403, role=Role.VIEWER),
    Look("reader", "/trades/details/{trades}", role=Role.VIEWER, is_twin=True),
)

_OUTSIDE = (
    Look("login", "/login", role=None),
    Look("login-refused", "/login", _log_in_wrongly, role=None),
    Look("login-throttled", "/login", _guess_too_often, role=None),
    Look("forgot", "/forgot", role=None),
    Look("forgot-sent", "/forgot", _ask_for_a_link, role=None),
    Look("reset-gone", "/reset?token=spent", status=410, role=None),
    Look("second-step", "/login", _reach_the_second_step, role=None),
)

READING = (*_AROUND, *_FROM_A_LIST, *_FROM_A_RECORD, *_OUTSIDE)
WRITING = (*_CHANGING, *_FILES, *_PEOPLE)
LOOKS = (*READING, *WRITING)
"""All of them; what changes records comes after what shows them."""
