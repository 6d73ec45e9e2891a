"""The asyncpg connection that carries a scope and folds it into BEGIN: no extra round trip."""

from typing import Any

import asyncpg

from domain.db.scope import Scope
from domain.errors import Unavailable


class ScopedConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """An asyncpg connection that knows the scope of the unit that is using it.

    Attributes:
        next_scope: Bound by the next BEGIN, in the same network message.
        bound_scope: What an autocommit connection is bound to until it is bound anew.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.next_scope: Scope | None = None
        self.bound_scope: Scope | None = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own signature
        """Run a statement; BEGIN takes the scope with it."""
        if self.next_scope is None or not query.startswith("BEGIN"):
            return str(await super().execute(query, *args, timeout=timeout))
        scoped = f"{query} {self.next_scope.statement(local=True)}"
        self.next_scope = None
        try:
            return str(await super().execute(scoped, timeout=timeout))
        except BaseException:
            # BEGIN succeeded and the scope did not: an open transaction without a tenant.
            self.terminate()
            raise


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
