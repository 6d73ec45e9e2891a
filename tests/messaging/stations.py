"""Consumers, messages and small tables for tests of delivery."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from domain import Database
from domain.clock import new_id
from domain.db.unit import UnitOfWork
from domain.messaging.consuming import Patience, Received
from domain.messaging.messages import AlertReported
from domain.messaging.publishing import publish_many
from domain.messaging.relaying import Relay

QUICK = Patience(timeout=5, attempts=3, first_pause=0, longest_pause=0)


def report(title: str, source: str = "desk") -> AlertReported:
    return AlertReported(event_id=new_id(), title=title, source=source)


async def announce(db: Database, *titles: str, source: str = "desk") -> None:
    """Write messages in one transaction; a title "a/1" has the key "a"."""
    async with db.transaction(system="test") as unit:
        await publish_many(
            unit,
            [
                report(title, title.partition("/")[0] if "/" in title else source)
                for title in titles
            ],
        )


async def make_effects(db: Database) -> None:
    async with db.engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE TABLE public.effects (id bigserial PRIMARY KEY, consumer text, title text)"
            )
        )
        await connection.execute(text("GRANT ALL ON public.effects TO tradekeep_staff"))
        await connection.execute(text("GRANT ALL ON public.effects_id_seq TO tradekeep_staff"))


async def leave_effect(unit: UnitOfWork, consumer: str, title: str) -> None:
    await unit.session.execute(
        text("INSERT INTO public.effects (consumer, title) VALUES (:consumer, :title)"),
        {"consumer": consumer, "title": title},
    )


async def effects(db: Database, consumer: str) -> list[str]:
    """Return the titles in the order in which their effects were written."""
    async with db.read(system="test") as unit:
        found = await unit.session.scalars(
            text("SELECT title FROM public.effects WHERE consumer = :consumer ORDER BY id"),
            {"consumer": consumer},
        )
        return list(found)


def writing(consumer: str, *, refuse: Sequence[str] = ()) -> Any:
    """Return a handler that writes an effect a message, and raises on titles of `refuse`."""

    async def handle(unit: UnitOfWork, received: Sequence[Received[AlertReported]]) -> None:
        for item in received:
            await leave_effect(unit, consumer, item.message.title)
            if item.message.title in refuse:
                raise RuntimeError(f"{item.message.title} cannot be handled")

    return handle


async def run(relay: Relay, rounds: int = 20) -> None:
    """Deliver until nothing moves any more."""
    for _ in range(rounds):
        done = [await relay.deliver(consumer) for consumer in relay.consumers]
        if not any(done) and not await relay.settle():
            return
