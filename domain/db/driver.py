"""The asyncpg connection that carries a scope and folds it into BEGIN: no extra round trip."""

import time
from typing import Any, Final

import asyncpg

from domain.db.scope import Scope
from domain.errors import Unavailable


class ScopedConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """An asyncpg connection that knows the scope of the unit that is using it.

    Attributes:
        next_scope: Bound by the next BEGIN, in the same network message.
        bound_scope: What an autocommit connection is bound to until it is bound anew.
        observer: Who watches what the current transaction writes.
        is_in_doubt: Whether a COMMIT was sent whose outcome nobody knows.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.next_scope: Scope | None = None
        self.bound_scope: Scope | None = None
        self.observer: object | None = None
        self.is_in_doubt = False
        self._began = 0.0
        self._commit_within: float | None = None

    def limit_commit(self, since: float, seconds: float) -> None:
        """Let the server refuse a COMMIT of this transaction that arrives too late.

        Args:
            since: ``time.monotonic()`` from when on the time counts.
            seconds: How long after `since` the COMMIT may arrive.
        """
        # On the server's own clock: it counts from BEGIN, which it saw before we saw its answer.
        self._commit_within = since - self._began + seconds

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own signature
        """Run a statement; BEGIN takes the scope with it, COMMIT its time limit."""
        if query.startswith("COMMIT"):
            return await self._commit(query, timeout)
        if not query.startswith("BEGIN"):
            return str(await super().execute(query, *args, timeout=timeout))
        self.is_in_doubt, self._commit_within = False, None
        if self.next_scope is not None:
            query = f"{query} {self.next_scope.statement(local=True)}"
            self.next_scope = None
        try:
            status = str(await super().execute(query, timeout=timeout))
        except BaseException:
            # BEGIN succeeded and the scope did not: an open transaction without a tenant.
            self.terminate()
            raise
        self._began = time.monotonic()
        return status

    async def _commit(self, query: str, timeout: float | None) -> str:  # noqa: ASYNC109 - as above
        if self._commit_within is not None:
            query = _IN_TIME.format(seconds=self._commit_within) + query
        self.is_in_doubt = True
        try:
            status = str(await super().execute(query, timeout=timeout))
        except asyncpg.DivisionByZeroError as error:
            await super().execute("ROLLBACK")
            self.is_in_doubt = False
            raise asyncpg.SerializationError("the COMMIT came too late") from error
        except asyncpg.PostgresError as error:
            self.is_in_doubt = not str(getattr(error, "sqlstate", "")).startswith(_CERTAIN)
            raise
        self.is_in_doubt = False
        return status


_IN_TIME: Final = "SELECT 1 / (clock_timestamp() - now() < interval '{seconds:.6f} s')::int; "
"""Fails, and so keeps the COMMIT that follows from running, when the time is over."""
_CERTAIN: Final = ("23", "40", "P0")
"""SQLSTATE classes of a COMMIT that surely did not happen."""


async def connect(*args: Any, **kwargs: Any) -> ScopedConnection:
    """Open a connection.

    Raises:
        Unavailable: Nobody listens, the network broke, or the server did not answer in time.
    """
    try:
        return await asyncpg.connect(*args, connection_class=ScopedConnection, **kwargs)  # type: ignore[no-any-return]  # asyncpg ships no types
    except OSError as error:  # includes TimeoutError
        raise Unavailable("the database server cannot be reached") from error
    except asyncpg.CannotConnectNowError as error:
        raise Unavailable("the database server is starting or stopping") from error
    except asyncpg.TooManyConnectionsError as error:
        raise Unavailable("the database server has no free connection") from error
