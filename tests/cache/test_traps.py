"""The traps in which caches beside a database are caught, each as it was reproduced once."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from domain.errors import Conflict
from domain.research.models import Watchlist
from tests.cache.conftest import Desk, Loads, named_watchlist, watchlist_names


async def test_what_was_read_before_a_commit_is_not_stored_after_it(
    either_desk: Desk, loads: Loads
) -> None:
    loads.meanwhile.append(lambda: either_desk.rename("second"))
    assert await either_desk.name() == "first"  # true when the read began
    assert await either_desk.name() == "second"


async def test_a_loader_sees_a_state_that_is_newer_than_the_snapshot_of_its_caller(
    desk: Desk,
) -> None:
    """A loader in the caller's REPEATABLE READ session would store what was true before."""
    async with desk.db.snapshot(user=desk.user_id) as old:
        assert (await old.watchlists.get(desk.watchlist_id)).name == "first"
        await desk.rename("second")
        found = await old.cached.get(named_watchlist, desk.watchlist_id)
    assert found is not None and found.name == "second"
    assert await desk.name() == "second"


async def test_a_loader_does_not_take_an_old_entity_from_the_identity_map_of_its_caller(
    desk: Desk,
) -> None:
    async with desk.db.transaction(user=desk.user_id) as unit:
        kept = await unit.watchlists.get(desk.watchlist_id)
        await desk.rename("second")
        found = await unit.cached.get(named_watchlist, desk.watchlist_id)
        assert kept.name == "first"
    assert found is not None and found.name == "second"
    assert await desk.name() == "second"


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_what_is_rolled_back_is_seen_by_its_unit_and_never_cached(
    either_desk: Desk, is_flushed: bool
) -> None:
    desk = either_desk
    with pytest.raises(RuntimeError, match="changed my mind"):
        async with desk.db.transaction(user=desk.user_id) as unit:
            (await unit.watchlists.get(desk.watchlist_id)).name = "phantom"
            if is_flushed:
                await unit.flush()
            found = await unit.cached.get(named_watchlist, desk.watchlist_id)
            assert found is not None and found.name == "phantom"
            assert await desk.name() == "first"
            raise RuntimeError("changed my mind")
    assert await desk.name() == "first"


async def test_a_savepoint_that_is_released_is_not_taken_for_the_commit(
    desk: Desk, loads: Loads
) -> None:
    async with desk.db.transaction(user=desk.user_id) as unit:
        async with unit.session.begin_nested():
            (await unit.watchlists.get(desk.watchlist_id)).name = "second"
        assert await desk.name() == "first"
    assert await desk.name() == "second"


async def test_what_follows_a_savepoint_that_was_rolled_back_still_counts(desk: Desk) -> None:
    assert await desk.name() == "first"
    async with desk.db.transaction(user=desk.user_id) as unit:
        with pytest.raises(RuntimeError):
            async with unit.session.begin_nested():
                await unit.watchlists.patch(desk.watchlist_id, name="phantom")
                raise RuntimeError
        assert await desk.name() == "first"
        await unit.watchlists.patch(desk.watchlist_id, name="second")
    assert await desk.name() == "second"


async def by_flush(unit: Any, desk: Desk) -> None:
    (await unit.watchlists.get(desk.watchlist_id)).name = "second"


async def by_patch(unit: Any, desk: Desk) -> None:
    await unit.watchlists.patch(desk.watchlist_id, name="second")


async def by_orm_update(unit: Any, desk: Desk) -> None:
    await unit.session.execute(update(Watchlist).values(name="second"))


async def by_core_update(unit: Any, desk: Desk) -> None:
    table = Watchlist.__table__
    changed = table.update().where(table.c.id == desk.watchlist_id).values(name="second")
    await (await unit.session.connection()).execute(changed)


async def by_text(unit: Any, desk: Desk) -> None:
    await unit.session.execute(text("UPDATE ONLY research.watchlists SET name = 'second'"))


async def by_driver_sql(unit: Any, desk: Desk) -> None:
    connection = await unit.session.connection()
    await connection.exec_driver_sql('update "research"."watchlists" set name = $1', ("second",))


async def by_upsert(unit: Any, desk: Desk) -> None:
    row = {"id": desk.watchlist_id, "user_id": desk.user_id, "name": "second"}
    await unit.watchlists.upsert_many([row], key=["id"], update=["name"])


async def by_core_upsert(unit: Any, desk: Desk) -> None:
    row = {"id": desk.watchlist_id, "user_id": desk.user_id, "name": "second"}
    upsert = pg_insert(Watchlist).values(row)
    changed = upsert.on_conflict_do_update(index_elements=["id"], set_={"name": "second"})
    await unit.session.execute(changed)


async def by_merge(unit: Any, desk: Desk) -> None:
    await unit.session.execute(
        text(
            "MERGE INTO research.watchlists w USING (SELECT 1) AS one ON w.id = :id"
            " WHEN MATCHED THEN UPDATE SET name = 'second'"
        ),
        {"id": desk.watchlist_id},
    )


async def by_cte(unit: Any, desk: Desk) -> None:
    await unit.session.execute(
        text(
            "WITH changed AS (UPDATE research.watchlists SET name = 'second' RETURNING id)"
            " SELECT count(*) FROM changed"
        )
    )


WAYS = [
    by_flush, by_patch, by_orm_update, by_core_update, by_text, by_driver_sql, by_upsert,
    by_core_upsert, by_merge, by_cte,
]  # fmt: skip


@pytest.mark.parametrize("write", WAYS)
async def test_every_way_to_write_a_row_is_seen_by_the_next_read(
    either_desk: Desk, write: Any
) -> None:
    desk = either_desk
    assert (await desk.name(), await desk.names()) == ("first", ("first",))
    async with desk.db.transaction(user=desk.user_id) as unit:
        await write(unit, desk)
        assert (await desk.name(), await desk.names()) == ("first", ("first",))
    assert (await desk.name(), await desk.names()) == ("second", ("second",))


async def add_by_flush(unit: Any, desk: Desk) -> None:
    unit.watchlists.add(Watchlist(user_id=desk.user_id, name="another"))


async def add_by_rows(unit: Any, desk: Desk) -> None:
    await unit.watchlists.insert_many([{"user_id": desk.user_id, "name": "another"}])


async def add_by_copy(unit: Any, desk: Desk) -> None:
    await unit.watchlists.copy_in([{"user_id": desk.user_id, "name": "another"}])


async def add_by_core(unit: Any, desk: Desk) -> None:
    await unit.session.execute(insert(Watchlist), [{"user_id": desk.user_id, "name": "another"}])


async def add_by_staged_upsert(unit: Any, desk: Desk) -> None:
    rows = [{"user_id": desk.user_id, "name": "another"}]
    rows += [{"user_id": desk.user_id, "name": f"extra {n}"} for n in range(6_000)]
    await unit.watchlists.upsert_many(rows, key=["user_id", "name"], update=["name"])


@pytest.mark.parametrize(
    "add", [add_by_flush, add_by_rows, add_by_copy, add_by_core, add_by_staged_upsert]
)
async def test_every_way_to_add_a_row_is_seen_by_the_next_read(desk: Desk, add: Any) -> None:
    assert await desk.names() == ("first",)
    async with desk.db.transaction(user=desk.user_id) as unit:
        await add(unit, desk)
    assert "another" in await desk.names()


async def remove_by_flush(unit: Any, desk: Desk) -> None:
    await unit.watchlists.remove(await unit.watchlists.get(desk.watchlist_id))


async def remove_by_statement(unit: Any, desk: Desk) -> None:
    await unit.session.execute(delete(Watchlist))


async def remove_with_the_user(unit: Any, desk: Desk) -> None:
    await unit.users.remove(await unit.users.get(desk.user_id))


async def remove_with_the_user_by_text(unit: Any, desk: Desk) -> None:
    await unit.session.execute(text("DELETE FROM identity.users"))


@pytest.mark.parametrize(
    "remove",
    [remove_by_flush, remove_by_statement, remove_with_the_user, remove_with_the_user_by_text],
)
async def test_every_way_to_delete_a_row_is_seen_by_the_next_read(desk: Desk, remove: Any) -> None:
    assert (await desk.name(), await desk.names()) == ("first", ("first",))
    async with desk.db.transaction(system="test") as unit:
        await remove(unit, desk)
    assert (await desk.name(), await desk.names()) == (None, ())


async def test_a_row_that_did_not_exist_is_seen_when_it_does(desk: Desk, loads: Loads) -> None:
    ghost = Watchlist(user_id=desk.user_id, name="later")
    async with desk.db.transaction(user=desk.user_id) as unit:
        unit.watchlists.add(ghost)
        await unit.flush()
        ident = ghost.id
        reader = desk.db.cached(user=desk.user_id)
        assert await reader.get(named_watchlist, ident) is None
        loads.count = 0
        assert await reader.get(named_watchlist, ident) is None
        assert loads.count == 0  # that there is nothing was remembered
    found = await reader.get(named_watchlist, ident)
    assert found is not None and found.name == "later"


async def test_the_owner_a_row_had_before_is_told_too(desk: Desk) -> None:
    async with desk.db.transaction(system="test") as unit:
        other = unit.users.add(type(await unit.users.get(desk.user_id))(username="bob"))
        await unit.flush()
    assert await desk.names() == ("first",)
    assert await desk.db.cached(user=other.id).get(watchlist_names) == ()
    async with desk.db.transaction(system="test") as unit:
        (await unit.watchlists.get(desk.watchlist_id)).user_id = other.id
    assert await desk.names() == ()
    assert await desk.db.cached(user=other.id).get(watchlist_names) == ("first",)


async def test_one_users_bulk_write_leaves_the_answers_of_others_alone(
    desk: Desk, loads: Loads
) -> None:
    async with desk.db.transaction(system="test") as unit:
        other = unit.users.add(type(await unit.users.get(desk.user_id))(username="bob"))
        await unit.flush()
    assert await desk.name() == "first"
    loads.count = 0
    async with desk.db.transaction(user=other.id) as unit:
        await unit.session.execute(update(Watchlist).values(name="mine"))
        await unit.session.execute(text("UPDATE research.watchlists SET name = 'mine'"))
    assert await desk.name() == "first"
    assert loads.count == 0


async def test_an_answer_is_its_owners_alone(desk: Desk) -> None:
    async with desk.db.transaction(system="test") as unit:
        other = unit.users.add(type(await unit.users.get(desk.user_id))(username="bob"))
        await unit.flush()
    assert await desk.name() == "first"
    assert await desk.db.cached(user=other.id).get(named_watchlist, desk.watchlist_id) is None


async def test_a_conflict_at_commit_leaves_no_answer_locked_out(desk: Desk, loads: Loads) -> None:
    assert await desk.name() == "first"
    with pytest.raises(Conflict):
        async with desk.db.transaction(user=desk.user_id, isolation="serializable") as one:
            await one.watchlists.all()
            one.watchlists.add(Watchlist(user_id=desk.user_id, name="one"))
            async with desk.db.transaction(user=desk.user_id, isolation="serializable") as two:
                await two.watchlists.all()
                two.watchlists.add(Watchlist(user_id=desk.user_id, name="two"))
    await desk.db.cache.invalidation.aclose()
    assert await desk.names() == ("first", "two")
    loads.count = 0
    assert (await desk.name(), await desk.name()) == ("first", "first")
    assert loads.count <= 1


async def test_a_transaction_that_only_reads_tells_the_server_nothing(
    desk: Desk, loads: Loads
) -> None:
    assert await desk.name() == "first"
    async with desk.db.transaction(user=desk.user_id) as unit:
        await unit.watchlists.lock(desk.watchlist_id)
        await unit.watchlists.all()
    await asyncio.sleep(0)
    loads.count = 0
    assert await desk.name() == "first"
    assert loads.count == 0
