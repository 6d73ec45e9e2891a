"""Probes A1 to A3 and P2: what the history of changes keeps, and that nothing gets past it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from httpx2 import AsyncClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from domain.alerts.terms import AlertStatus
from domain.audit.models import AuditEntry
from domain.errors import TradekeepError
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from tests.admin.browsing import Page, key_of, send, visit
from tests.admin.conftest import browser
from tests.admin.test_bulk import started
from tests.security.conftest import PASSWORD, House
from tests.security.test_fields import import_into

OTHER = "another horse, another staple"


async def told(house: House) -> str:
    """Return the whole history as PostgreSQL writes it."""
    async with house.db.read(system="probe") as unit:
        rows = await unit.session.execute(text("SELECT e::text FROM audit.entries AS e"))
        return " ".join(rows.scalars())


async def entries_by(house: House, actor: str) -> list[AuditEntry]:
    async with house.db.read(system="probe") as unit:
        query = unit.audit_entries.query(AuditEntry.actor == actor).order_by(AuditEntry.id)
        return list(await unit.audit_entries.all(query))


@asynccontextmanager
async def entered(house: House, name: str) -> AsyncIterator[AsyncClient]:
    """Open the browser of a new administrator, who logs in with a password."""
    async with house.db.transaction(system="probe") as unit:
        await create_user(unit, name, password=PASSWORD, role=Role.ADMIN)
    async with browser(house.app) as client:
        await send(client, "/login", {"username": name, "password": PASSWORD})
        yield client


async def test_a1_no_secret_that_a_form_carried_is_in_the_history(house: House) -> None:
    async with entered(house, "keeper") as client:
        changed = await send(
            client, "/account/password", {"present": PASSWORD, "password": OTHER, "x": OTHER}
        )
        assert changed.status_code == 303
        made = await send(client, "/account/keys/new", {"name": "robot", "key_hash": OTHER})
        (secret,) = re.findall(r"tk_[\w-]{43}", made.text)
        reset = await send(client, f"/users/{house.bob.user.id}/reset")
        (link,) = re.findall(r"token=([\w-]{20,})", Page(reset.text).text)
        token = client.cookies["tradekeep"]
    everything = await told(house)
    for kept in (PASSWORD, OTHER, secret, link, token, "$argon2"):
        assert kept not in everything
    assert "[redacted]" in everything, "that a secret changed is told"


async def test_a2_an_edit_is_told_with_both_values_in_the_transaction_that_makes_it(
    house: House,
) -> None:
    path = f"/portfolios/edit/{key_of(house.bob.portfolio)}"
    form = (await visit(house.boss, path)).form()
    await send(house.boss, path, form.submitted(name="Growth"))
    last = (await entries_by(house, "admin-staff"))[-1]
    assert last.old_values is not None and last.new_values is not None
    assert (last.old_values["name"], last.new_values["name"]) == ("Main", "Growth")
    async with house.db.read(system="probe") as unit:
        written = await unit.session.execute(
            text("SELECT xmin::text FROM trading.portfolios WHERE id = :id"),
            {"id": house.bob.portfolio.id},
        )
    assert str(last.xid) == written.scalar_one(), "one transaction wrote both"


async def test_a2_a_change_that_cannot_be_told_is_not_made(house: House) -> None:
    engine = create_async_engine(house.db.engine.url)
    forbid = "ALTER TABLE audit.entries ADD CONSTRAINT probe CHECK (false) NOT VALID"
    path = f"/portfolios/edit/{key_of(house.bob.portfolio)}"
    form = (await visit(house.boss, path)).form()
    async with engine.begin() as connection:
        await connection.execute(text(forbid))
    try:
        answer = await send(house.boss, path, form.submitted(description="untold"))
        assert answer.status_code >= 400
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE audit.entries DROP CONSTRAINT probe"))
        await engine.dispose()
    assert await description(house) != "untold" and "untold" not in await told(house)


async def test_a2_a_killed_connection_leaves_neither_change_nor_entry(house: House) -> None:
    engine = create_async_engine(house.db.engine.url)
    try:
        async with house.db.transaction(staff="grace") as unit:
            await unit.portfolios.patch(house.bob.portfolio.id, description="killed")
            mine = await unit.session.scalar(text("SELECT pg_backend_pid()"))
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": mine})
    except (TradekeepError, DBAPIError, OSError):
        pass
    await engine.dispose()
    assert await description(house) != "killed" and "killed" not in await told(house)


async def description(house: House) -> Any:
    async with house.db.read(system="probe") as unit:
        return (await unit.portfolios.get(house.bob.portfolio.id)).description


async def test_a3_p2_logins_imports_exports_and_actions_stand_in_the_history(
    house: House,
) -> None:
    async with entered(house, "doer") as client:
        rows = "code,name,minor_units,kind\nXPR,Probe,2,fiat\n"
        assert (await import_into(client, "currencies", rows)).status_code == 303
        assert (await client.get("/admin/trades/export.csv?side=buy")).status_code == 200
        await started(client, "alerts", {"action": "pause", "scope": "all", "query": ""})
        await send(client, "/logout")
    async with house.db.read(system="probe") as unit:
        assert {alert.status for alert in await unit.alerts.all()} == {AlertStatus.PAUSED}
    done = {(entry.action, entry.table_name) for entry in await entries_by(house, "doer")}
    assert done >= {
        ("insert", "market.currencies"),
        ("insert", "identity.table_imports"),
        ("export", "trading.trades"),
        ("insert", "identity.bulk_runs"),
        ("update", "alerts.alerts"),
        ("logout", "identity.users"),
    }
    failed, entered_at = "login-failed", "login"
    async with browser(house.app) as client:
        await send(client, "/login", {"username": "doer", "password": "wrong"})
    async with house.db.read(system="probe") as unit:
        events = await unit.audit_entries.all(
            unit.audit_entries.query(AuditEntry.action.in_([failed, entered_at]))
        )
    told_of = {(entry.action, (entry.details or {}).get("name")) for entry in events}
    assert told_of >= {(failed, "doer"), (entered_at, "doer")}
