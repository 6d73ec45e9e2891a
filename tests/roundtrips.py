"""Counts messages to the server: the noise-free measure of a data layer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from domain import Database


@dataclass
class RoundTrips:
    """What was sent, in order."""

    sent: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.sent)


@asynccontextmanager
async def counted_round_trips(db: Database, *, user: UUID) -> AsyncIterator[RoundTrips]:
    """Count statements sent inside the block, each of them one round trip.

    The first use of a statement on a connection costs one more, to prepare it; the count is that
    of a warm connection.
    """
    del db, user
    count = RoundTrips()
    execute = asyncpg.Connection.execute
    run = PreparedStatement.fetch

    async def counting_execute(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        count.sent.append(query)
        return await execute(self, query, *args, **kwargs)

    async def counting_fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
        count.sent.append(self.get_query())
        return await run(self, *args, **kwargs)

    with (
        patch.object(asyncpg.Connection, "execute", counting_execute),
        patch.object(PreparedStatement, "fetch", counting_fetch),
    ):
        yield count
