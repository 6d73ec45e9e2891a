"""Forms write what people changed, once, and never over somebody else's change unseen."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient

from domain import Database
from domain.identity.models import UserPreferences
from domain.market.models import Instrument
from domain.trading.models import Portfolio
from domain.trading.terms import CostBasisMethod
from tests.admin.browsing import Form, Page, key_of, send, visit
from tests.admin.records import MOMENT, content, make_everything
from tests.factories.trading import Account, open_account


async def form_of(client: AsyncClient, path: str) -> Form:
    return (await visit(client, path)).form()


async def portfolio_of(db: Database, account: Account) -> Portfolio:
    async with db.read(system="test") as unit:
        return await unit.portfolios.get(account.portfolio.id)


async def preferences_of(db: Database, account: Account) -> UserPreferences:
    async with db.read(system="test") as unit:
        return await unit.preferences.get(account.user.id)


async def test_only_the_fields_that_changed_are_written(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    path = f"/portfolios/edit/{key_of(account.portfolio)}"
    form = await form_of(boss, path)
    answer = await send(
        boss, path, form.submitted(broker="ibkr", archived_at="2024-05-01 10:00:00.000001+02:00")
    )
    assert (
        answer.headers["location"]
        == f"/admin/portfolios/details/{key_of(account.portfolio)}?done=saved"
    )
    stored = await portfolio_of(db, account)
    assert (stored.broker, stored.name, stored.version) == ("ibkr", "Main", 2)
    assert stored.description == "\nfirst\nsecond\n"
    assert stored.archived_at == datetime(2024, 5, 1, 8, 0, 0, 1, tzinfo=UTC)


async def test_a_stale_form_is_refused_and_shows_both_sides(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    path = f"/portfolios/edit/{key_of(account.portfolio)}"
    mine = await form_of(boss, path)
    theirs = await form_of(boss, path)
    await send(boss, path, theirs.submitted(name="Theirs", broker="ibkr"))
    before = await content(db)

    answer = await send(boss, path, mine.submitted(name="Mine"))
    assert answer.status_code == 409
    assert await content(db) == before
    page = Page(answer.text)
    assert "Somebody changed this record" in page.text and "Theirs" in page.text
    again = page.form()
    assert (again.values["name"], again.values["broker"]) == ("Mine", "ibkr")

    assert (await send(boss, path, again.submitted())).status_code == 303
    stored = await portfolio_of(db, account)
    assert (stored.name, stored.broker, stored.version) == ("Mine", "ibkr", 3)


async def test_a_form_without_a_true_version_writes_nothing(
    db: Database, boss: AsyncClient, subtests: pytest.Subtests
) -> None:
    account = await make_everything(db)
    path = f"/portfolios/edit/{key_of(account.portfolio)}"
    form = await form_of(boss, path)
    before = await content(db)
    for version in ("", "0", "-1", "²", "99999999999999999999", "x"):
        with subtests.test(version=version):
            answer = await send(boss, path, form.submitted(name="Mine", version=version))
            assert answer.status_code == 409
            assert await content(db) == before


async def test_where_no_edits_are_counted_another_columns_change_survives(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    path = f"/preferences/edit/{account.user.id}"
    mine = await form_of(boss, path)
    await send(boss, path, mine.submitted(morning_alert="yes"))
    assert (await send(boss, path, mine.submitted(cost_basis_method="lifo"))).status_code == 303
    stored = await preferences_of(db, account)
    assert (stored.morning_alert, stored.cost_basis_method) == (True, "lifo")
    assert stored.settings == {"z": 1, "a": [1.5, None, {"deep": "\u2028"}]}


async def test_where_no_edits_are_counted_the_same_columns_change_is_not_overwritten(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    path = f"/preferences/edit/{account.user.id}"
    mine = await form_of(boss, path)
    await send(boss, path, mine.submitted(cost_basis_method="hifo"))
    answer = await send(boss, path, mine.submitted(cost_basis_method="lifo"))
    assert answer.status_code == 409
    assert (await preferences_of(db, account)).cost_basis_method == "hifo"
    await send(boss, path, Page(answer.text).form().submitted())
    assert (await preferences_of(db, account)).cost_basis_method == "lifo"


async def test_a_field_that_does_not_come_back_is_left_alone(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    path = f"/portfolios/edit/{key_of(account.portfolio)}"
    data = (await form_of(boss, path)).submitted(broker="ibkr")
    del data["description"]
    await send(boss, path, data)
    stored = await portfolio_of(db, account)
    assert (stored.broker, stored.description) == ("ibkr", "\nfirst\nsecond\n")


async def test_columns_that_are_not_in_the_form_cannot_be_sent(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    path = f"/portfolios/edit/{key_of(account.portfolio)}"
    form = await form_of(boss, path)
    smuggled = {
        "user_id": key_of(account.portfolio),
        "cost_basis_method": "lifo",
        "base_currency": "EUR",
    }
    smuggled |= {f"was:{name}": "" for name in smuggled}
    assert (await send(boss, path, form.submitted(**smuggled))).status_code == 303
    stored = await portfolio_of(db, account)
    assert stored.user_id == account.user.id
    assert (stored.cost_basis_method, stored.base_currency) == (CostBasisMethod.FIFO, "USD")


WRONG: tuple[tuple[str, dict[str, str], str, str], ...] = (
    ("portfolios", {"name": ""}, "name", "must be filled in"),
    ("portfolios", {"name": "x" * 101}, "name", "name length"),
    ("portfolios", {"broker": "Two Words"}, "broker", "broker word"),
    ("portfolios", {"archived_at": "2024-05-01 10:00"}, "archived_at", "carry a time zone"),
    (
        "portfolios",
        {"archived_at": "0001-01-01 00:00:00+14:00"},
        "archived_at",
        "between the years",
    ),
    ("portfolios", {"archived_at": "yesterday"}, "archived_at", "be a time"),
    ("portfolios", {"name": "a\x00b"}, "name", "no NUL"),
    ("instruments", {"tick_size": "1e5"}, "tick_size", "be a decimal number"),
    ("instruments", {"tick_size": "NaN"}, "tick_size", "be a decimal number"),
    ("instruments", {"tick_size": "0.0000000000000000001"}, "tick_size", "18 decimals"),
    ("instruments", {"details": "{oops"}, "details", "valid JSON"),
    ("instruments", {"details": '{"a": NaN}'}, "details", "valid JSON"),
    ("instruments", {"details": '{"a": "\\u0000"}'}, "", "cannot store"),
    ("instruments", {"status": "gone"}, "status", "one of the choices"),
    ("instruments", {"listed_on": "12.12.1980"}, "listed_on", "be a day"),
    ("currencies", {"minor_units": "99999"}, "", "cannot store"),
    ("currencies", {"minor_units": "19"}, "minor_units", "minor units range"),
    ("currencies", {"minor_units": "1.5"}, "minor_units", "whole number"),
    ("api-keys", {"permissions": '[1, "x"]'}, "permissions", "JSON list of words"),
    ("api-keys", {"permissions": '{"a": 1}'}, "permissions", "JSON list of words"),
    ("users", {"email": "Ada@Example.com"}, "email", "email format"),
    ("aliases", {"instrument_id": "AAPL"}, "instrument_id", "record from the list"),
    ("aliases", {"valid_to": "2020-01-01 00:00:00+00:00"}, "", "validity"),
    (
        "aliases",
        {"instrument_id": "00000000-0000-7000-8000-000000000000"},
        "instrument_id",
        "does not exist",
    ),
)
"""Table, what is typed, the field that shows an error, and its words."""


async def test_a_wrong_value_is_refused_beside_its_field(
    db: Database, boss: AsyncClient, subtests: pytest.Subtests
) -> None:
    await make_everything(db)
    before = await content(db)
    for path, changes, field, words in WRONG:
        with subtests.test(path=path, changes=changes):
            page = await refused(boss, path, changes)
            assert await content(db) == before
            assert words in page.text
            mark = 'aria-invalid="true"' if field else 'class="alert"'
            place = page.html.index(mark)
            assert not field or f'name="{field}"' in page.html[place - 200 : place]
            (name, value), *_ = changes.items()
            if "\x00" not in value:
                assert page.form().values[name] == value, "what was typed is still there"


async def refused(boss: AsyncClient, path: str, changes: dict[str, str]) -> Page:
    """Return what the form of a table's first record answers to these changes."""
    listing = await visit(boss, f"/{path}/list")
    edit = next(item for item in listing.addresses if "/details/" in item and f"/{path}/" in item)
    edit = edit.removeprefix("/admin").replace("/details/", "/edit/")
    form = await form_of(boss, edit)
    answer = await send(boss, edit, form.submitted(**changes))
    assert answer.status_code == 422, answer.text
    return Page(answer.text)


async def test_a_record_is_made_with_its_defaults(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    form = await form_of(boss, "/portfolios/create")
    assert form.values["cost_basis_method"] == "fifo"
    data = form.submitted(user_id=key_of(account.user), name="Second", base_currency="EUR")
    answer = await send(boss, "/portfolios/create", data)
    assert answer.status_code == 303
    async with db.read(system="test") as unit:
        made = await unit.portfolios.named("Second")
    assert (made.base_currency, made.cost_basis_method) == ("EUR", CostBasisMethod.FIFO)
    assert answer.headers["location"].endswith(f"{made.id}?done=created")
    twice = await send(boss, "/portfolios/create", data)
    assert (twice.status_code, "already" in twice.text) == (422, True)


async def test_an_instrument_is_made_with_exact_numbers(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    form = await form_of(boss, "/instruments/create")
    data = form.submitted(symbol="ES", kind="future", quote_currency="USD", multiplier="1,000.5")
    assert (await send(boss, "/instruments/create", data)).status_code == 303
    async with db.read(system="test") as unit:
        (made,) = await unit.instruments.by_symbol("ES")
    assert (made.multiplier, made.is_inverse) == (Decimal("1000.5"), False)


async def test_a_deletion_says_what_forbids_it_and_what_goes_along(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    path = f"/portfolios/delete/{key_of(account.portfolio)}"
    page = await visit(boss, path)
    assert "cannot be deleted while these belong to it" in page.text and "Trades: 2" in page.text
    before = await content(db)
    assert (await send(boss, path)).status_code == 409
    assert await content(db) == before

    async with db.transaction(system="test") as unit:
        empty = unit.portfolios.add(Portfolio(user_id=account.user.id, name="Empty"))
        await unit.flush()
    page = await visit(boss, f"/portfolios/delete/{empty.id}")
    assert "Nothing else refers to it" in page.text
    assert (await send(boss, f"/portfolios/delete/{empty.id}")).headers[
        "location"
    ] == "/admin/portfolios/list?done=deleted"
    async with db.read(system="test") as unit:
        assert await unit.portfolios.find(empty.id) is None


FACTS = ("trades", "positions", "lots", "closures", "cash-movements", "imports", "equity", "outbox")


async def test_facts_and_projections_have_no_form(
    db: Database, boss: AsyncClient, subtests: pytest.Subtests
) -> None:
    await make_everything(db)
    before = await content(db)
    for identity in (*FACTS, "bars", "latest-prices", "corporate-actions", "sessions"):
        with subtests.test(identity=identity):
            listing = await visit(boss, f"/{identity}/list")
            details = next(item for item in listing.addresses if f"/{identity}/details/" in item)
            for verb in ("edit", "delete", "create"):
                path = details.removeprefix("/admin").replace("details", verb)
                path = f"/{identity}/create" if verb == "create" else path
                sent = await send(boss, path, {"quantity": "1", "was:quantity": ""})
                assert sent.status_code == 405
                await visit(boss, path, status=405)
            assert await content(db) == before


async def test_a_reference_is_found_by_the_beginning_of_its_name(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db, name="Main")
    lookups: list[tuple[str, str, Any]] = [
        ("instruments", "aap", [{"id": key_of(account.instrument), "text": "AAPL"}]),
        ("portfolios", "MA", [{"id": key_of(account.portfolio), "text": "Main · ada"}]),
        ("currencies", "eu", [{"id": "EUR", "text": "EUR"}]),
        ("instruments", "%", []),
        ("instruments", "\x00", []),
        ("instruments", "x" * 500, []),
    ]
    for identity, term, found in lookups:
        answer = await boss.get(f"/admin/{identity}/lookup", params={"q": term})
        assert (answer.status_code, answer.json()) == (200, found), term


async def test_the_form_of_a_reference_says_its_name(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    listing = await visit(boss, "/aliases/list")
    edit = next(item for item in listing.addresses if "/aliases/details/" in item)
    page = await visit(boss, edit.removeprefix("/admin").replace("details", "edit"))
    assert 'data-label="AAPL"' in page.html
    assert page.form().values["valid_from"] == MOMENT.isoformat(sep=" ")


async def test_a_record_that_is_gone_cannot_be_saved(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    async with db.transaction(system="test") as unit:
        gone = unit.instruments.add(Instrument(symbol="GONE", kind="stock", quote_currency="USD"))  # type: ignore[arg-type]
        await unit.flush()
    form = await form_of(boss, f"/instruments/edit/{gone.id}")
    async with db.transaction(system="test") as unit:
        await unit.instruments.delete_where(Instrument.id == gone.id)
    answer = await send(boss, f"/instruments/edit/{gone.id}", form.submitted(name="Ghost"))
    assert answer.status_code == 404
