"""Who handles which messages, and how patiently. Declarations only; `relaying` delivers."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeAlias, TypeVar
from uuid import UUID

from domain.db.unit import UnitOfWork
from domain.messaging.messages import Fact, topic_of
from domain.settings import Settings

M = TypeVar("M", bound=Fact)


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A message as a handler gets it.

    Args:
        message: The message.
        number: Its number in the outbox.
        event_id: Its own id: the same whenever it is delivered.
        written_at: When it was written, UTC.
        has_failed: Whether this consumer failed on it before.
    """

    message: M
    number: int
    event_id: UUID
    written_at: datetime
    has_failed: bool


Handler: TypeAlias = Callable[[UnitOfWork, Sequence[Received[Any]]], Awaitable[None]]
"""Handles messages in the unit that also notes them as handled: commits nothing itself."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Something that handles messages, each with exactly one effect in the database.

    Args:
        name: Under which it is noted what was handled; never change it.
        kinds: The types of messages it handles.
        handle: Gets a trusted unit and messages in the order of their keys. What it writes is
            committed together with the note that they were handled. When it raises, nothing of
            it stays and the messages come again, a failing one alone in the end.
        batch: Most messages in one transaction.
        parallel: How many deliveries one worker runs at the same time, of different keys.
    """

    name: str
    kinds: tuple[type[Fact], ...]
    handle: Handler
    batch: int = 1
    parallel: int = 1

    @property
    def topics(self) -> list[str]:
        """The topics of its messages."""
        return [topic_of(kind) for kind in self.kinds]


def one_by_one(handle: Callable[[UnitOfWork, Any], Awaitable[None]]) -> Handler:
    """Return a handler that calls `handle(unit, message)` for each message in turn."""

    async def each(unit: UnitOfWork, received: Sequence[Received[Any]]) -> None:
        for item in received:
            await handle(unit, item.message)

    return each


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a message is tried and how long one try may take; seconds.

    Args:
        timeout: Longest handling of one transaction's messages.
        attempts: Tries before a message is dead.
        first_pause: Before the second try; doubles with each one.
        longest_pause: No pause is longer.
    """

    timeout: float = 30.0
    attempts: int = 8
    first_pause: float = 1.0
    longest_pause: float = 600.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        return cls(
            timeout=settings.worker_timeout,
            attempts=settings.worker_attempts,
            first_pause=settings.worker_first_pause,
            longest_pause=settings.worker_longest_pause,
        )
