"""The core of `Database`: it owns the engines and opens units of work.

Knows no area; `domain.database.Database` adds the typed repositories.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Generic, Literal, Self, TypeVar
from uuid import UUID

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from domain.db.embedded import EmbeddedPostgres
from domain.db.engine import loading_engine, parse_url, read_engine, write_engine
from domain.db.scope import Reach, Scope
from domain.db.session import SCOPE, ReadSession, WriteSession
from domain.db.unit import ReadUnit, UnitOfWork, stale
from domain.errors import Conflict, InvalidData, LockTimeout, TradekeepError
from domain.settings import Settings

R = TypeVar("R", bound=ReadUnit)
U = TypeVar("U", bound=UnitOfWork)
T = TypeVar("T")

Isolation = Literal["read committed", "repeatable read", "serializable"]

_ISOLATIONS: Final = {
    "read committed": None,
    "repeatable read": "REPEATABLE READ",
    "serializable": "SERIALIZABLE",
}
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0


class Connections(Generic[R, U]):
    """Engines of one database and the units of work on them.

    Use it as an async context manager; it starts the embedded server when no URL is given.

    Args:
        url: A PostgreSQL URL; default: the settings' ``DATABASE_URL``, else the embedded server.
        settings: Default: read from the environment.
    """

    reader: type[R]
    worker: type[U]

    def __init__(self, url: str | None = None, *, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        configured = self.settings.database_url
        self._url_text = url or (configured.get_secret_value() if configured else None)
        self._embedded: EmbeddedPostgres | None = None
        self._write: AsyncEngine | None = None
        self._read: AsyncEngine | None = None
        self._load: AsyncEngine | None = None
        self._variants: dict[tuple[Any, ...], AsyncEngine] = {}

    async def __aenter__(self) -> Self:
        """Start the embedded server if needed and build the engines; connects to nothing yet."""
        url = await self._resolve_url()
        self._write = write_engine(url, self.settings)
        self._read = read_engine(url, self.settings)
        self._load = loading_engine(url, self.settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pools and leave the embedded server."""
        for engine in (self._write, self._read, self._load):
            if engine is not None:
                await engine.dispose()
        self._write = self._read = self._load = None
        self._variants.clear()
        if self._embedded is not None:
            await self._embedded.aclose()
            self._embedded = None

    async def _resolve_url(self) -> URL:
        if self._url_text is None:
            self._embedded = EmbeddedPostgres(self.settings.data_dir / "postgres")
            self._url_text = await self._embedded.astart()
        return parse_url(self._url_text)

    @property
    def is_embedded(self) -> bool:
        """Whether the database is on the server that comes along."""
        return self._embedded is not None

    @property
    def engine(self) -> AsyncEngine:
        """The engine for transactions, for tools that need it (migrations, the admin)."""
        return _opened(self._write)

    @property
    def read_engine(self) -> AsyncEngine:
        """The engine for autocommit reads."""
        return _opened(self._read)

    @asynccontextmanager
    async def transaction(
        self,
        *,
        user: UUID | None = None,
        staff: str | None = None,
        system: str | None = None,
        tenants: Collection[UUID] | None = None,
        isolation: Isolation = "read committed",
    ) -> AsyncIterator[U]:
        """Open one transaction; commit it when the block ends, roll it back when it raises.

        Args:
            user: A tenant's id: row-level security shows and accepts its rows only.
            staff: The name of a member of staff: all tenants.
            system: Why a trusted job runs: all tenants.
            tenants: With `staff`: these tenants alone, enforced by the database.
            isolation: PostgreSQL's isolation level.

        Raises:
            InvalidData: Not exactly one of `user`, `staff`, `system`.
            TradekeepError: Whatever the database reported, translated.
        """
        scope = scope_of(user=user, staff=staff, system=system, tenants=tenants)
        async with self._session(scope, isolation) as session:
            unit = self.worker(session, scope)
            try:
                yield unit
                await session.commit()
            except StaleDataError as error:
                raise stale(error) from error

    @asynccontextmanager
    async def read(
        self,
        *,
        user: UUID | None = None,
        staff: str | None = None,
        system: str | None = None,
        tenants: Collection[UUID] | None = None,
    ) -> AsyncIterator[R]:
        """Open a read session in autocommit: one round trip a query, each sees the newest commit.

        Raises:
            InvalidData: Not exactly one of `user`, `staff`, `system`.
        """
        scope = scope_of(user=user, staff=staff, system=system, tenants=tenants)
        if self.settings.pgbouncer:
            async with self._session(scope, "read committed", is_readonly=True) as session:
                yield self.reader(session, scope)
            return
        session = AsyncSession(
            self.read_engine,
            sync_session_class=ReadSession,
            autoflush=False,
            expire_on_commit=False,
            info=self.session_info(scope),
        )
        async with session:
            yield self.reader(session, scope, self._snapshot_session)

    @asynccontextmanager
    async def snapshot(
        self,
        *,
        user: UUID | None = None,
        staff: str | None = None,
        system: str | None = None,
        tenants: Collection[UUID] | None = None,
    ) -> AsyncIterator[R]:
        """Open a REPEATABLE READ, READ ONLY transaction: reports that must agree with themselves.

        Raises:
            InvalidData: Not exactly one of `user`, `staff`, `system`.
        """
        scope = scope_of(user=user, staff=staff, system=system, tenants=tenants)
        async with self._snapshot_session(scope) as session:
            yield self.reader(session, scope)

    @asynccontextmanager
    async def loading(self, scope: Scope) -> AsyncIterator[R]:
        """Open a short session of the loaders' own pool, which sees one state of the database.

        The state is that of its first statement, so it is never older than this call.
        """
        async with self._snapshot_session(scope, _opened(self._load)) as session:
            yield self.reader(session, scope)

    def session_info(self, scope: Scope) -> dict[str, Any]:
        """Return what every session carries: its scope, and what subclasses add."""
        return {SCOPE: scope}

    async def retry(  # noqa: PLR0913 - the three ways to act, and how to repeat
        self,
        work: Callable[[U], Awaitable[T]],
        *,
        user: UUID | None = None,
        staff: str | None = None,
        system: str | None = None,
        tenants: Collection[UUID] | None = None,
        isolation: Isolation = "read committed",
        attempts: int = 5,
    ) -> T:
        """Run `work` in a transaction, the whole unit again on a conflict or deadlock.

        Waits between attempts with full jitter, 20 ms doubling up to 1 s. A connection that
        broke is not retried: the outcome of its COMMIT is unknown, only an idempotency key makes
        a second try safe.

        Raises:
            Conflict: Every attempt lost.
        """
        for attempt in range(1, attempts + 1):
            try:
                async with self.transaction(
                    user=user, staff=staff, system=system, tenants=tenants, isolation=isolation
                ) as unit:
                    return await work(unit)
            except (Conflict, LockTimeout) as error:
                if attempt == attempts or isinstance(error, LockTimeout):
                    raise
                await asyncio.sleep(_pause(attempt))
        raise InvalidData("attempts", attempts, "be at least 1")

    def _variant(self, engine: AsyncEngine, options: dict[str, Any]) -> AsyncEngine:
        """Return `engine` with these options; making one anew costs more than a short statement."""
        key = (engine, *options.items())
        if key not in self._variants:
            self._variants[key] = engine.execution_options(**options)
        return self._variants[key]

    @asynccontextmanager
    async def _session(
        self, scope: Scope, isolation: Isolation, *, is_readonly: bool = False
    ) -> AsyncIterator[AsyncSession]:
        options: dict[str, Any] = {"postgresql_readonly": is_readonly}
        if level := _ISOLATIONS[isolation]:
            options["isolation_level"] = level
        engine = self._variant(self.engine, options)
        session = AsyncSession(
            engine,
            sync_session_class=WriteSession,
            expire_on_commit=False,
            info=self.session_info(scope),
        )
        async with session:
            try:
                yield session
            except BaseException:
                # Closing would roll back as well, but tell nobody of it.
                with suppress(TradekeepError, SQLAlchemyError, OSError):
                    await asyncio.shield(session.rollback())
                raise

    @asynccontextmanager
    async def _snapshot_session(
        self, scope: Scope, pool: AsyncEngine | None = None
    ) -> AsyncIterator[AsyncSession]:
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        engine = self._variant(pool or self.engine, options)
        session = AsyncSession(
            engine,
            sync_session_class=WriteSession,
            autoflush=False,
            expire_on_commit=False,
            info=self.session_info(scope),
        )
        async with session:
            yield session


def scope_of(
    *,
    user: UUID | None,
    staff: str | None,
    system: str | None,
    tenants: Collection[UUID] | None = None,
) -> Scope:
    """Return the scope for exactly one of the three ways to act.

    Args:
        user: A tenant.
        staff: A member of staff.
        system: Why a trusted job runs.
        tenants: What a member of staff is limited to; None: nothing but `limited_to`.

    Raises:
        InvalidData: None or several were given, or `tenants` without `staff`.
    """
    given = {
        name: value
        for name, value in (("user", user), ("staff", staff), ("system", system))
        if value is not None
    }
    if len(given) != 1:
        raise InvalidData("scope", sorted(given), "be exactly one of user, staff, system")
    if tenants is not None:
        if staff is None:
            raise InvalidData("tenants", "given", "come with staff")
        return Scope.desk(staff, Reach.of(tenants))
    if user is not None:
        return Scope.tenant(user)
    return Scope.staff(staff) if staff is not None else Scope.system(system or "")


def _opened(engine: AsyncEngine | None) -> AsyncEngine:
    if engine is None:
        raise InvalidData("database", "closed", "be open: use it inside `async with`")
    return engine


def _pause(attempt: int) -> float:
    ceiling = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
    return random.uniform(0, ceiling)  # noqa: S311 - jitter, no secret
