"""Dead letters in the admin: seen, tried again, thrown away."""

import pytest
from httpx2 import AsyncClient

from domain import Database
from domain.identity.models import Role
from domain.messaging.models import FailedDelivery
from tests.admin.browsing import send, visit
from tests.admin.conftest import Enter
from tests.admin.records import make_everything


async def failed(db: Database) -> FailedDelivery | None:
    async with db.read(system="test") as unit:
        return await unit.failed_deliveries.first(unit.failed_deliveries.query())


def path_of(found: FailedDelivery | None, action: str) -> str:
    assert found is not None
    return f"/failed-deliveries/{action}/{found.consumer};{found.message_id}"


async def test_a_dead_letter_says_why_and_is_tried_again(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    listing = await visit(boss, "/failed-deliveries/list")
    assert "userId must be given" in listing.text and "notices" in listing.text
    assert "Try again" in (await visit(boss, path_of(await failed(db), "details"))).text
    answered = await send(boss, path_of(await failed(db), "answer"), {"answer": "retry"})
    assert answered.status_code == 303
    again = await failed(db)
    assert again is not None and (again.dead_at, again.attempts) == (None, 0)


async def test_a_dead_letter_is_discarded_in_somebodys_name(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    path = path_of(await failed(db), "answer")
    assert (await send(boss, path, {"answer": "discard"})).status_code == 303
    assert await failed(db) is None
    async with db.read(system="test") as unit:
        notes = await unit.processed_messages.all()
    assert [note.result["discarded_by"] for note in notes if note.consumer == "notices"] == ["boss"]  # type: ignore[index]
    assert (await send(boss, path, {"answer": "discard"})).status_code == 404


@pytest.mark.parametrize("answer", ["", "drop"])
async def test_another_answer_is_refused(db: Database, boss: AsyncClient, answer: str) -> None:
    await make_everything(db)
    path = path_of(await failed(db), "answer")
    assert (await send(boss, path, {"answer": answer})).status_code == 400


async def test_who_may_only_read_answers_nothing(db: Database, enter: Enter) -> None:
    await make_everything(db)
    reader = await enter(Role.VIEWER)
    details = await visit(reader, path_of(await failed(db), "details"))
    assert "Try again" not in details.text
    path = path_of(await failed(db), "answer")
    assert (await send(reader, path, {"answer": "retry"})).status_code == 403
