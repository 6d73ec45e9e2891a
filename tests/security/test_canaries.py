"""Canaries: what a tenant has, and what is secret, is in no byte that others get."""

import logging
import re
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import Table, Text, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from admin.office import Office
from admin.permissions import catalogue
from admin.permits import AsSeen
from domain.db.repository import Repository
from domain.db.types import ClosedText
from domain.identity.models import Effect, Role
from domain.identity.permissions import Permits, Rule, set_rules
from domain.identity.reaching import choose_tenants
from domain.schema import RIGHTS, metadata
from tests.admin.browsing import send
from tests.admin.conftest import browser, token_of
from tests.admin.records import CANARIES
from tests.security.conftest import PASSWORD, House
from tests.security.test_probes import path_of, routes

OWNED = [table for table in metadata.tables.values() if "user_id" in table.columns]
CANARY = "CANARY"


async def plant(house: House) -> set[str]:
    """Put a canary into every text of Ada's rows that takes one; return the tables that have it."""
    planted: set[str] = set()
    url = house.db.engine.url.render_as_string(hide_password=False)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for table in OWNED:
            for column in table.columns:
                if not _takes_words(column, table):
                    continue
                statement = text(
                    f'UPDATE {table.fullname} SET "{column.name}" = :word WHERE user_id = :ada'
                )
                try:
                    async with connection.begin_nested():
                        word = f"{CANARY}-{table.name}-{column.name}"
                        given = {"word": word, "ada": house.ada.user.id}
                        done = await connection.execute(statement, given)
                        planted |= {table.fullname} if done.rowcount else set()
                except DBAPIError:
                    continue
    await engine.dispose()
    return planted


def _takes_words(column: Any, table: Table) -> bool:
    is_free = isinstance(column.type, Text) and not isinstance(column.type, ClosedText)
    return (
        is_free and column.computed is None and not column.foreign_keys and not column.primary_key
    )


async def ids_of(house: House) -> set[str]:
    """Return the ids of Ada's rows."""
    found: set[str] = set()
    async with house.db.read(system="probe") as unit:
        for table in OWNED:
            if "id" in table.columns:
                rows = await unit.session.execute(
                    text(f"SELECT id::text FROM {table.fullname} WHERE user_id = :ada"),
                    {"ada": house.ada.user.id},
                )
                found |= set(rows.scalars())
    return {ident for ident in found if len(ident) == 36}


async def addresses(house: House, ids: set[str]) -> list[str]:
    """Return every address of the admin, with one record of Ada's of every kind, by its id."""
    found = [
        path_of(route, house)
        for route in routes(house.app)
        if "GET" in (route.methods or ()) and route.path != "/live"
    ]
    found += [
        f"{path}?q={term}" for path in ("/search", "/search.json") for term in (CANARY, *ids)
    ][:8]
    for view in house.app.state.site.records():
        tails = ["list", "export.csv", f"lookup?q={CANARY}", f"list?q={CANARY}", "create"]
        if "user_id" in view.table.columns and "id" in view.table.columns:
            async with house.db.read(system="probe") as unit:
                rows = await view.rows(unit).all()
            mine = next((row.id for row in rows if row.user_id == house.ada.user.id), None)
            tails += [f"{page}/{mine}" for page in ("details", "edit", "delete")]
        found += [f"/{view.identity}/{tail}" for tail in tails]
    async with house.db.read(system="probe") as unit:
        found += [
            f"/{name}/details/{row.id}"
            for name, repository in (("instruments", unit.instruments), ("articles", unit.articles))
            for row in await repository.all()
        ]
    return list(dict.fromkeys(found))


async def every_answer(
    house: House, client: AsyncClient, ids: set[str], ending: str = ""
) -> dict[str, str]:
    """Return what each address answers, or each that ends like this."""
    found = [path for path in await addresses(house, ids) if path.endswith(ending)]
    return {path: (await client.get(f"/admin{path}")).text for path in found}


async def test_staff_who_may_not_read_a_tenants_tables_get_no_byte_of_them(house: House) -> None:
    planted = await plant(house)
    assert len(planted) >= 15, planted
    site = house.app.state.site
    office = Office(house.db, site.pages, AsSeen({v.identity: v for v in site.records()}))
    owned = {table.fullname for table in OWNED} | {"identity.users"}
    closed = {view.identity for view in site.records() if view.table.fullname in owned}
    # What is no table shows what tenants have, in sums and by name.
    closed |= {"dashboard", "live", "search", "leaderboard"}
    rules = [
        Rule(name, action, "", Effect.DENY) for name, action in catalogue(office) if name in closed
    ]
    async with house.db.transaction(system="probe") as unit:
        admin = Permits(Role.ADMIN)
        await set_rules(unit, admin, Role.ANALYST, rules, guarded=site.sign_in.guarded)
    ids = await ids_of(house)
    token = await token_of(house.db, "narrow", Role.ANALYST)
    async with browser(house.app, cookies={"tradekeep": token}) as client:
        answers = await every_answer(house, client, ids)
        assert (await client.get("/admin/instruments/list")).status_code == 200
    leaks = {
        path: found for path, answer in answers.items() if (found := _found(answer, path, ids))
    }
    assert leaks == {}
    wide = await every_answer(house, house.viewer, ids, "/list")
    assert sum(bool(_found(answer, path, ids)) for path, answer in wide.items()) > 25, (
        "the same walk finds canaries where they may be read"
    )


async def test_staff_limited_to_one_tenant_get_no_byte_of_another(house: House) -> None:
    await plant(house)
    ids = await ids_of(house)
    token = await token_of(house.db, "desk", Role.ADMIN)
    async with house.db.transaction(system="probe") as unit:
        clerk = await unit.users.named("desk")
        await choose_tenants(unit, clerk, [house.bob.user.id], by="probe")
    async with browser(house.app, cookies={"tradekeep": token}) as client:
        answers = await every_answer(house, client, ids)
        assert "ada@example.com" not in (await client.get("/admin/users/list")).text
        own = await client.get(f"/admin/portfolios/details/{house.bob.portfolio.id}")
        assert own.status_code == 200, "what they are limited to they see"
    leaks = {
        path: found for path, answer in answers.items() if (found := _found(answer, path, ids))
    }
    assert leaks == {}
    assert len(answers) > 300


def _found(answer: str, path: str, ids: set[str]) -> list[str]:
    seen = re.findall(rf"{CANARY}-[\w-]+", answer)
    # What was asked for by its id stands in the address of the page itself.
    return seen + [ident for ident in ids if ident in answer and ident not in path]


async def test_tenants_get_nothing_from_the_admin(house: House) -> None:
    ids = await ids_of(house)
    token = await token_of(house.db, "tenant", Role.TRADER)
    async with browser(house.app, cookies={"tradekeep": token}) as client:
        for path, answer in (await every_answer(house, client, ids)).items():
            assert _found(answer, path, ids) == [], path


async def test_a_tenants_units_find_no_canary_in_any_repository(house: House) -> None:
    await plant(house)
    ids, asked = await ids_of(house), 0
    async with house.db.read(user=house.bob.user.id) as unit:
        for name in dir(type(unit)):
            repository = getattr(unit, name) if not name.startswith("_") else None
            if not isinstance(repository, Repository):
                continue
            table = repository.model.__table__
            if "SELECT" not in RIGHTS.get(table.fullname, ("",))[0]:
                continue
            asked += 1
            for row in await repository.all():
                words = [str(value) for value in vars(row).values()]
                assert not [w for w in words if CANARY in w or w in ids], table.fullname
    assert asked > 40


async def test_no_secret_is_in_any_answer_or_line_of_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with browser(house.app) as client:
        await send(client, "/login", {"username": "grace", "password": f"{PASSWORD}!"})
        await send(client, "/login", {"username": "grace", "password": PASSWORD})
        token = client.cookies["tradekeep"]
        made = await send(client, "/account/keys/new", {"name": "canary"})
        (secret,) = re.findall(r"tk_[\w-]{43}", made.text)
        answers = await every_answer(house, client, set())
    values = [v.encode() if isinstance(v, str) else v for v in CANARIES.values()]
    forms = {form for value in values for form in (value.decode("latin1"), value.hex())}
    for path, answer in {**answers, "the log": caplog.text}.items():
        assert not [form for form in (*forms, token, secret, PASSWORD) if form in answer], path
