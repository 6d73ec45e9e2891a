"""The unit of work: one session, one scope, and a repository for every model.

`UnitOfWork` writes inside one transaction and only `Database` commits it. `ReadUnit` reads; the
two are different types, so a use case that writes cannot be handed a reader.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, Self, TypeVar, overload
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from domain.db.orm import Base
from domain.db.repository import Repository, repository_for
from domain.db.scope import Scope
from domain.errors import Conflict

M = TypeVar("M", bound=Base)
R = TypeVar("R", bound=Repository[Any])

OpenSnapshot = Callable[[Scope], AbstractAsyncContextManager[AsyncSession]]


class Unit:
    """What reading and writing units share.

    Args:
        session: The SQLAlchemy session; everything it offers stays available.
        scope: Who acts.
        open_snapshot: Opens a session in which server-side cursors live; autocommit has none.
    """

    def __init__(
        self, session: AsyncSession, scope: Scope, open_snapshot: OpenSnapshot | None = None
    ) -> None:
        self.session = session
        self.scope = scope
        self._open_snapshot = open_snapshot
        self._repositories: dict[type[Any], Repository[Any]] = {}

    @property
    def user_id(self) -> UUID | None:
        """The tenant, or None for staff and trusted jobs."""
        return self.scope.user_id

    def __getitem__(self, model: type[M]) -> Repository[M]:
        """Return the repository of `model`."""
        return self.repository(repository_for(model))

    def repository(self, kind: type[R]) -> R:
        """Return this unit's repository of class `kind`, made once."""
        found = self._repositories.get(kind)
        if found is None:
            found = self._repositories[kind] = kind(self.session, self.scope, self.cursor_session)
        return found  # type: ignore[return-value]  # keyed by its own class

    @asynccontextmanager
    async def cursor_session(self) -> AsyncIterator[AsyncSession]:
        """Yield a session in which a server-side cursor may be opened."""
        if self._open_snapshot is None:
            yield self.session
            return
        async with self._open_snapshot(self.scope) as session:
            yield session


class ReadUnit(Unit):
    """Reads only: `Database.read` and `Database.snapshot` make it."""


class UnitOfWork(Unit):
    """One transaction: `Database.transaction` makes it and commits it; nobody else does."""

    async def flush(self) -> None:
        """Send pending writes now.

        Raises:
            Conflict: A versioned row was changed by somebody else since it was read.
        """
        try:
            await self.session.flush()
        except StaleDataError as error:
            raise stale(error) from error

    async def lock_key(self, key: str) -> None:
        """Wait for the transaction-scoped advisory lock named `key`.

        Raises:
            LockTimeout: Somebody held it for longer than the lock timeout.
        """
        await self.session.execute(_LOCK_KEY, {"key": key})


_LOCK_KEY = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


def stale(error: StaleDataError) -> Conflict:
    """Return our error for SQLAlchemy's: the row count says that a version did not match."""
    del error
    return Conflict("a row changed since it was read: read it again")


class repository(Generic[R]):  # noqa: N801 - reads as a declaration: users = repository(UserRepository)
    """Declares a repository as an attribute of a unit class.

    Example:
        class Everything(Unit):
            users = repository(UserRepository)
    """

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind

    @overload
    def __get__(self, unit: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, unit: Unit, owner: type[Any]) -> R: ...
    def __get__(self, unit: Unit | None, owner: type[Any]) -> Self | R:
        """Return the unit's repository, or the declaration when read from the class."""
        return self if unit is None else unit.repository(self.kind)
