"""Transactions, tenants, retries and what happens when the server misbehaves."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, inspect, select, text

from domain import Database
from domain.db.engine import parse_url
from domain.db.orm import Base, Owned
from domain.db.scope import Scope
from domain.errors import (
    AccessDenied,
    ConfigurationError,
    Conflict,
    InvalidData,
    LockTimeout,
    QueryTimeout,
    Unavailable,
)
from domain.schema import RIGHTS, metadata
from domain.settings import Settings
from domain.trading.models import CashMovement, Portfolio
from domain.trading.terms import Side
from tests.factories.trading import make_portfolio, open_account

_MODELS = sorted(
    (mapper.class_ for mapper in Base.registry.mappers if issubclass(mapper.class_, Owned)),
    key=lambda model: model.__name__,
)
OWNED = [model for model in _MODELS if "SELECT" in RIGHTS[model.__table__.fullname][0]]
CLOSED = [model for model in _MODELS if model not in OWNED]


async def test_a_transaction_needs_exactly_one_way_to_act(db: Database) -> None:
    with pytest.raises(InvalidData, match="exactly one"):
        async with db.transaction():
            pass
    with pytest.raises(InvalidData, match="exactly one"):
        async with db.read(user=uuid4(), staff="ada"):
            pass


async def test_the_actor_is_known_to_the_database_inside_the_transaction(db: Database) -> None:
    async with db.transaction(staff="o'brien") as unit:
        found = await unit.session.execute(
            text(
                "SELECT current_setting('app.actor'), current_user, current_setting('app.user_id')"
            )
        )
        assert found.one() == ("o'brien", "tradekeep_staff", "")


async def test_a_scope_does_not_outlive_its_transaction(db: Database) -> None:
    async with db.transaction(staff="ada") as unit:
        await unit.session.execute(text("SELECT 1"))
    async with db.engine.connect() as connection:
        role, actor = (
            await connection.execute(
                text("SELECT current_user, current_setting('app.actor', true)")
            )
        ).one()
    assert role != "tradekeep_staff"
    assert not actor


async def test_a_read_connection_is_bound_anew_for_every_tenant(db: Database) -> None:
    accounts = [await open_account(db, name) for name in ("ada", "bob", "eve")]

    async def reads(number: int) -> set[UUID]:
        account = accounts[number % 3]
        async with db.read(user=account.user.id) as unit:
            await asyncio.sleep(0)
            found = await unit.session.execute(select(Portfolio.user_id))
            return set(found.scalars()) - {account.user.id}

    strangers = await asyncio.gather(*(reads(number) for number in range(60)))

    assert set().union(*strangers) == set()


async def test_a_tenant_may_not_even_look_at_what_only_the_product_uses(
    db: Database, subtests: pytest.Subtests
) -> None:
    account = await open_account(db, "ada")
    for model in CLOSED:
        async with db.read(user=account.user.id) as unit:
            with subtests.test(model=model.__name__), pytest.raises(AccessDenied):
                await unit.session.execute(select(func.count()).select_from(model))


async def test_no_row_of_an_owned_table_is_seen_without_its_tenant(
    db: Database, subtests: pytest.Subtests
) -> None:
    ada = await open_account(db, "ada")
    bob = await open_account(db, "bob")
    for account in (ada, bob):
        await account.trade(Side.BUY, "10", "100")
        await account.trade(Side.SELL, "5", "110", minute=1)
    for model in OWNED:
        everything = select(func.count()).select_from(model)
        with subtests.test(model=model.__name__):
            for account, other in ((ada, bob), (bob, ada)):
                of_other = everything.where(
                    model.user_id == other.user.id  # type: ignore[attr-defined]  # an owned model
                )
                async with db.read(user=account.user.id) as unit:
                    assert (await unit.session.execute(of_other)).scalar_one() == 0
            async with db.read(user=uuid4()) as unit:
                assert (await unit.session.execute(everything)).scalar_one() == 0


async def test_a_tenant_cannot_write_into_another_tenants_tree(db: Database) -> None:
    ada = await open_account(db, "ada")
    bob = await open_account(db, "bob")
    with pytest.raises(AccessDenied):
        async with db.transaction(user=bob.user.id) as unit:
            await make_portfolio(unit, ada.user, "Planted")
    movement = {
        "portfolio_id": ada.portfolio.id,
        "kind": "deposit",
        "amount": 1,
        "currency": "USD",
        "effective_at": ada.portfolio.created_at,
        "source": "test",
        "dedupe_key": "1",
    }
    with pytest.raises(Exception, match="forbids it"):
        async with db.transaction(user=bob.user.id) as unit:
            await unit[CashMovement].insert_many([movement])


@pytest.mark.parametrize(
    "values", [{"role": "admin"}, {"is_active": False}, {"password_hash": "x"}, {"username": "x"}]
)
async def test_a_tenant_cannot_give_itself_a_role_or_password(
    db: Database, values: dict[str, object]
) -> None:
    account = await open_account(db)
    with pytest.raises(AccessDenied):
        async with db.transaction(user=account.user.id) as unit:
            await unit.users.patch(account.user.id, **values)
    async with db.transaction(user=account.user.id) as unit:
        await unit.users.patch(account.user.id, name="Ada Lovelace")


def test_every_table_says_who_may_do_what() -> None:
    assert set(RIGHTS) == set(metadata.tables)


async def test_secret_columns_cannot_be_read_by_the_readonly_role(db: Database) -> None:
    async with db.engine.begin() as connection:
        await connection.execute(text("SET LOCAL ROLE tradekeep_readonly"))
        await connection.execute(text("SELECT username FROM identity.users"))
        with pytest.raises(AccessDenied):
            await connection.execute(text("SELECT password_hash FROM identity.users"))


async def test_serializable_units_are_run_again_until_exact(db: Database) -> None:
    account = await open_account(db)

    async def count_up(unit: object) -> None:
        portfolio = await unit.portfolios.get(account.portfolio.id)  # type: ignore[attr-defined]  # a worker
        portfolio.description = str(int(portfolio.description or 0) + 1)

    await asyncio.gather(
        *(
            db.retry(count_up, user=account.user.id, isolation="serializable", attempts=40)
            for _ in range(8)
        )
    )

    async with db.read(user=account.user.id) as unit:
        assert (await unit.portfolios.get(account.portfolio.id)).description == "8"


async def test_retry_gives_up_after_its_attempts(db: Database) -> None:
    account = await open_account(db)
    tried = 0

    async def lose(_: object) -> None:
        nonlocal tried
        tried += 1
        raise Conflict("lost")

    with pytest.raises(Conflict):
        await db.retry(lose, user=account.user.id, attempts=3)
    assert tried == 3


async def test_a_snapshot_sees_one_state_and_cannot_write(db: Database) -> None:
    account = await open_account(db)
    async with db.snapshot(user=account.user.id) as unit:
        assert await unit.portfolios.count() == 1
        async with db.transaction(user=account.user.id) as other:
            await make_portfolio(other, account.user, "Second")
        assert await unit.portfolios.count() == 1
    async with db.read(user=account.user.id) as unit:
        assert await unit.portfolios.count() == 2


async def test_a_statement_that_runs_too_long_is_ended(migrated_database: str) -> None:
    async with Database(migrated_database, settings=Settings(statement_timeout=0.2)) as db:
        with pytest.raises(QueryTimeout):
            async with db.read(system="test") as unit:
                await unit.session.execute(text("SELECT pg_sleep(5)"))
        async with db.read(system="test") as unit:
            assert (await unit.session.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_lock_that_is_held_too_long_is_reported(migrated_database: str) -> None:
    async with Database(migrated_database, settings=Settings(lock_timeout=0.2)) as db:
        async with db.transaction(system="one") as first:
            await first.lock_key("key")
            with pytest.raises(LockTimeout):
                async with db.transaction(system="two") as second:
                    await second.lock_key("key")


async def test_a_pool_that_is_used_up_says_so(migrated_database: str) -> None:
    tiny = Settings(pool_size=1, pool_overflow=0, pool_timeout=0.2)
    async with Database(migrated_database, settings=tiny) as db:
        async with db.transaction(system="one") as first:
            await first.session.execute(text("SELECT 1"))
            with pytest.raises(Unavailable, match="no database connection was free"):
                async with db.transaction(system="two") as second:
                    await second.session.execute(text("SELECT 1"))


async def test_an_idle_connection_that_the_server_closed_is_replaced_unseen(
    db: Database,
) -> None:
    async with db.read(system="test") as unit:
        pid = (await unit.session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
    async with db.engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend({pid})"))
    await asyncio.sleep(0.2)

    async with db.read(system="test") as unit:
        again = (await unit.session.execute(text("SELECT pg_backend_pid()"))).scalar_one()

    assert again != pid


async def test_a_connection_killed_in_mid_transaction_is_unavailable_and_leaves_nothing(
    db: Database,
) -> None:
    account = await open_account(db)
    with pytest.raises(Unavailable):
        async with db.transaction(user=account.user.id) as unit:
            await make_portfolio(unit, account.user, "Lost")
            pid = (await unit.session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with db.engine.connect() as connection:
                await connection.execute(text(f"SELECT pg_terminate_backend({pid})"))
            await unit.session.execute(text("SELECT 1"))
    async with db.read(user=account.user.id) as unit:
        assert await unit.portfolios.find_named("Lost") is None


async def test_a_cancelled_task_gives_its_connection_back(migrated_database: str) -> None:
    tiny = Settings(pool_size=1, pool_overflow=0, pool_timeout=2)
    async with Database(migrated_database, settings=tiny) as db:

        async def sleep() -> None:
            async with db.transaction(system="sleeper") as unit:
                await unit.session.execute(text("SELECT pg_sleep(10)"))

        task = asyncio.create_task(sleep())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with db.transaction(system="next") as unit:
            assert (await unit.session.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with Database("postgresql://nobody@127.0.0.1:9/none") as db:
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with db.read(system="test") as unit:
                await unit.session.execute(text("SELECT 1"))


@pytest.mark.parametrize("url", ["mysql://x/y", "not a url", "sqlite:///x.db"])
def test_a_url_of_another_database_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://") as caught:
        parse_url(url)
    assert url not in str(caught.value)


def test_a_scope_quotes_what_people_type() -> None:
    statement = Scope.staff("x', true); DROP TABLE users; --").statement(local=True)
    assert "'x'', true); DROP TABLE users; --'" in statement
    with pytest.raises(InvalidData):
        Scope.staff("nul\x00")


def test_every_relationship_refuses_to_load_by_surprise() -> None:
    lazy = {
        f"{mapper.class_.__name__}.{relation.key}": relation.lazy
        for mapper in Base.registry.mappers
        for relation in inspect(mapper).relationships
    }
    assert set(lazy.values()) == {"raise_on_sql"}
