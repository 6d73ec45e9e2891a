"""The history of a record: who changed what, the way back, and what a deletion means for others."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient

from domain import Database
from domain.audit.models import AuditEntry
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.journal.models import EntryTag, JournalEntry, Setup, Tag
from domain.research.models import Watchlist, WatchlistItem
from domain.trading.models import Portfolio
from domain.trading.terms import Side
from tests.admin.browsing import Page, links, send, visit
from tests.admin.conftest import Enter
from tests.admin.records import MOMENT, content
from tests.factories.trading import Account, open_account

PASSWORD = "correct horse battery staple"


@pytest.fixture
async def account(db: Database) -> Account:
    return await open_account(db)


async def rename(boss: AsyncClient, portfolio: Portfolio, **changes: str) -> None:
    path = f"/portfolios/edit/{portfolio.id}"
    form = (await visit(boss, path)).form()
    assert (await send(boss, path, form.submitted(**changes))).status_code == 303


async def find(db: Database, model: type[Any], key: Any) -> Any:
    async with db.read(staff="test") as unit:
        return await unit[model].find(key)


async def test_a_record_says_who_changed_it_when_and_from_what_to_what(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    await rename(boss, account.portfolio, name="Long term", archived_at="2024-05-01 10:00:00+00:00")
    details = await visit(boss, f"/portfolios/details/{account.portfolio.id}")
    (history,) = links(details, "/portfolios/history/")
    page = await visit(boss, history)
    assert "History of Long term" in page.text
    assert "changed by boss" in page.text and "made by system:test" in page.text
    assert "Name Main Long term" in page.text
    assert "2024-05-01 10:00:00" in page.text
    (request,) = links(page, "/changes/list?request_id=")
    assert "trading.portfolios" in (await visit(boss, request)).text


async def test_a_tenant_and_a_reference_go_by_their_names(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    async with db.transaction(user=account.user.id) as unit:
        entry = unit.journal_entries.add(
            JournalEntry(user_id=account.user.id, entry_on=MOMENT.date(), kind="trade")
        )
        await unit.flush()
        await unit.journal_entries.patch(
            entry.id, portfolio_id=account.portfolio.id, planned_entry=Decimal("187.300000000001")
        )
    page = await visit(boss, f"/journal-entries/history/{entry.id}")
    assert "changed by ada" in page.text
    assert f"/users/details/{account.user.id}" in str(page.addresses)
    assert f"/portfolios/details/{account.portfolio.id}" in str(page.addresses)
    assert "187.300000000001" in page.html, "the exact value is there on hover"


async def test_the_history_goes_on_page_by_page(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    async with db.transaction(staff="grace") as unit:
        for number in range(30):
            await unit.portfolios.patch(account.portfolio.id, name=f"name {number}")
    first = await visit(boss, f"/portfolios/history/{account.portfolio.id}")
    assert "name 29" in first.text and "made by" not in first.text
    (older,) = [item for item in first.addresses if item.startswith("?after=")]
    second = await visit(boss, f"/portfolios/history/{account.portfolio.id}{older}")
    assert "made by system:test" in second.text and "changed by grace" in second.text
    ends = [item for item in second.addresses if item.startswith("?")]
    assert [item.partition("=")[0] for item in ends] == ["?before"], "nothing is older"


async def test_old_values_come_back_through_the_form_and_nothing_else_changes(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    await rename(boss, account.portfolio, name="Long term", broker="ibkr")
    await rename(boss, account.portfolio, description="kept")
    page = await visit(boss, f"/portfolios/history/{account.portfolio.id}")
    _, oldest = links(page, "/portfolios/edit/")
    before = await content(db)
    form = await visit(boss, oldest)
    assert "Nothing is written until you save" in form.text
    assert await content(db) == before, "looking writes nothing"
    values = form.form().values
    assert (values["name"], values["was:name"]) == ("Main", "Long term")
    assert (await send(boss, oldest, form.form().submitted())).status_code == 303
    stored = await find(db, Portfolio, account.portfolio.id)
    assert (stored.name, stored.broker, stored.description) == ("Main", None, "kept")
    again = await visit(boss, oldest)
    assert "has the values from before" in again.text


async def test_a_restored_form_is_refused_when_somebody_changed_the_record_meanwhile(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    await rename(boss, account.portfolio, name="Long term")
    page = await visit(boss, f"/portfolios/history/{account.portfolio.id}")
    (restore,) = links(page, "/portfolios/edit/")
    form = (await visit(boss, restore)).form()
    await rename(boss, account.portfolio, name="Theirs")
    answer = await send(boss, restore, form.submitted())
    assert answer.status_code == 409 and "Theirs" in Page(answer.text).text
    assert (await find(db, Portfolio, account.portfolio.id)).name == "Theirs"


async def test_a_change_of_another_record_restores_nothing(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    other = await open_account(db, "grace")
    async with db.read(staff="test") as unit:
        entry = await unit.audit_entries.first(
            unit.audit_entries.of("trading.portfolios", str(other.portfolio.id))
        )
    assert entry is not None
    for wanted in (str(entry.id), "nothing", ""):
        await visit(boss, f"/portfolios/edit/{account.portfolio.id}?restore={wanted}", status=404)


async def test_a_deleted_record_is_restored_with_its_key_and_values(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    async with db.transaction(staff="grace") as unit:
        setup = unit.setups.add(
            Setup(user_id=account.user.id, name="Breakout", rules="A\nB", checklist=["volume"])
        )
        await unit.flush()
    before = await find(db, Setup, setup.id)
    answer = await send(boss, f"/setups/delete/{setup.id}")
    assert answer.headers["location"].startswith("/admin/setups/list")
    listing = await visit(boss, "/setups/list")
    (deleted,) = links(listing, "/changes/list?table_name=journal.setups")
    (change,) = links(await visit(boss, deleted), "/changes/details/")
    assert links(await visit(boss, change), "/setups/history/") == [f"/setups/history/{setup.id}"]
    page = await visit(boss, f"/setups/history/{setup.id}")
    assert "deleted by boss" in page.text and "Breakout" in page.text
    (restore,) = links(page, "/setups/restore/")
    assert "Nothing else was deleted with it" in (await visit(boss, restore)).text
    assert (await send(boss, restore)).headers["location"].endswith(f"/setups/details/{setup.id}")
    after = await find(db, Setup, setup.id)
    for name in ("name", "rules", "checklist", "created_at", "archived_at", "user_id"):
        assert getattr(after, name) == getattr(before, name), name
    await visit(boss, restore, status=404)


async def test_what_was_deleted_along_is_listed_and_stays_away(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    async with db.transaction(staff="grace") as unit:
        watched = unit.watchlists.add(Watchlist(user_id=account.user.id, name="Tech"))
        await unit.flush()
        unit.watchlist_items.add(
            WatchlistItem(
                user_id=account.user.id,
                watchlist_id=watched.id,
                instrument_id=account.instrument.id,
                target_price=Decimal("210.50"),
            )
        )
    await send(boss, f"/watchlists/delete/{watched.id}")
    restore = await visit(boss, f"/watchlists/restore/{watched.id}")
    assert "do not come back with it" in restore.text and ": 1" in restore.text
    assert (await send(boss, f"/watchlists/restore/{watched.id}")).status_code == 303
    item = f"{watched.id};{account.instrument.id}"
    assert (await send(boss, f"/watchlist-items/restore/{item}")).status_code == 303
    back = await find(db, WatchlistItem, (watched.id, account.instrument.id))
    assert back.target_price == Decimal("210.50")


async def test_a_restore_that_the_database_refuses_says_why(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    async with db.transaction(staff="grace") as unit:
        tag = unit.tags.add(Tag(user_id=account.user.id, name="swing"))
        await unit.flush()
    await send(boss, f"/tags/delete/{tag.id}")
    async with db.transaction(staff="grace") as unit:
        unit.tags.add(Tag(user_id=account.user.id, name="swing"))
    answer = await send(boss, f"/tags/restore/{tag.id}")
    assert answer.status_code == 422
    assert "another record with this value already. Nothing was written" in Page(answer.text).text


async def test_who_only_reads_sees_the_history_and_no_way_back(
    db: Database, boss: AsyncClient, enter: Enter, account: Account
) -> None:
    await rename(boss, account.portfolio, name="Long term")
    async with db.transaction(staff="grace") as unit:
        tag = unit.tags.add(Tag(user_id=account.user.id, name="swing"))
        await unit.flush()
        await unit.tags.remove(tag)
    reader = await enter(Role.VIEWER)
    for path in (f"/portfolios/history/{account.portfolio.id}", f"/tags/history/{tag.id}"):
        page = await visit(reader, path)
        assert not [item for item in page.addresses if "restore" in item]
    assert (await send(reader, f"/tags/restore/{tag.id}")).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/portfolios/history/nothing",
        "/portfolios/history/00000000-0000-7000-8000-000000000000",
        "/nothing/history/1",
        "/tags/restore/00000000-0000-7000-8000-000000000000",
        "/tags/restore/%00",
    ],
)
async def test_a_history_of_nothing_is_a_friendly_404(boss: AsyncClient, path: str) -> None:
    assert "There is no such" in (await visit(boss, path, status=404)).text


async def test_secrets_are_not_restored_and_such_records_neither(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await visit(boss, f"/oauth-tokens/restore/{account.user.id}", status=405)
    await visit(boss, f"/trades/restore/{account.user.id}", status=405)


async def test_a_deletion_is_followed_through_all_levels(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    async with db.transaction(staff="grace") as unit:
        setup = unit.setups.add(Setup(user_id=account.user.id, name="Breakout"))
        tag = unit.tags.add(Tag(user_id=account.user.id, name="swing"))
        await unit.flush()
        for day in range(12):
            entry = unit.journal_entries.add(
                JournalEntry(
                    user_id=account.user.id,
                    entry_on=MOMENT.date() + timedelta(days=day),
                    kind="trade",
                    setup_id=setup.id,
                )
            )
            await unit.flush()
            unit.entry_tags.add(EntryTag(user_id=account.user.id, entry_id=entry.id, tag_id=tag.id))
    page = await visit(boss, f"/setups/delete/{setup.id}")
    assert "These stay and lose their reference to it: Journal entries: 12" in page.text
    page = await visit(boss, f"/tags/delete/{tag.id}")
    assert "These go with it:" in page.text and ": 12" in page.text
    assert "Type swing to confirm" in page.text

    refused = await send(boss, f"/tags/delete/{tag.id}", {"confirm": "swin"})
    assert refused.status_code == 409
    assert "12 records go with it: type its name to confirm" in Page(refused.text).text
    assert await find(db, Tag, tag.id) is not None
    assert (await send(boss, f"/tags/delete/{tag.id}", {"confirm": " swing "})).status_code == 303
    assert await find(db, Tag, tag.id) is None
    async with db.read(staff="test") as unit:
        gone = unit.audit_entries.query(
            AuditEntry.table_name == "journal.entry_tags", AuditEntry.action == "delete"
        )
        assert await unit.audit_entries.count(gone) == 12


async def test_what_forbids_a_deletion_is_named_with_a_link(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    booked = await account.trade(Side.BUY, "10", "187.30")
    page = await visit(boss, f"/portfolios/delete/{account.portfolio.id}")
    assert "cannot be deleted while these belong to it" in page.text and "Trades: 1" in page.text
    assert links(page, "/trades/details/") == [f"/trades/details/{booked.trade.id}"]


async def test_the_list_of_changes_is_narrowed_to_a_person(
    db: Database, boss: AsyncClient, account: Account
) -> None:
    await rename(boss, account.portfolio, name="Long term")
    page = await visit(boss, "/changes/list?q=boss")
    assert "trading.portfolios" in page.text and "market.instruments" not in page.text
    (change, *_) = links(page, "/changes/details/")
    details = await visit(boss, change)
    assert links(details, "/portfolios/history/") != []


async def test_logins_failures_logouts_and_exports_stand_in_the_history(
    db: Database, nobody: AsyncClient
) -> None:
    async with db.transaction(system="test") as unit:
        user = await create_user(unit, "grace", password=PASSWORD, role=Role.ADMIN)
    for name, password in (("grace", "wrong"), ("no such name", "wrong"), ("grace", PASSWORD)):
        await send(nobody, "/login", {"username": name, "password": password})
    exported = await nobody.get("/admin/portfolios/export.csv", headers={"x-request-id": "job-7"})
    assert exported.headers["x-request-id"] == "job-7"
    await send(nobody, "/logout")
    async with db.read(staff="test") as unit:
        entries = await unit.audit_entries.all(
            unit.audit_entries.query(
                AuditEntry.old_values.is_(None), AuditEntry.new_values.is_(None)
            ).order_by(AuditEntry.at)
        )
    events = [(entry.action, entry.actor, entry.row_key) for entry in entries]
    assert events == [
        ("login-failed", "system:login", str(user.id)),
        ("login-failed", "system:login", None),
        ("login", "system:login", str(user.id)),
        ("export", "grace", None),
        ("logout", "grace", str(user.id)),
    ]
    assert entries[3].table_name == "trading.portfolios" and entries[3].request_id == "job-7"
    assert "no such name" not in str(entries[1].details)
    assert len({entry.request_id for entry in entries}) == 5


@pytest.mark.parametrize("given", ["", "a b", "-x", "x" * 65, "ä"])
async def test_a_request_id_that_is_none_is_not_taken(nobody: AsyncClient, given: str) -> None:
    answer = await nobody.get("/livez", headers={"x-request-id": given.encode()})
    assert len(answer.headers["x-request-id"]) == 36
