"""The generic repository: statement-first, about twenty methods, nothing the Session already gives.

A repository never commits. `query` is the scoping hook of every read, the prebuilt by-id
statement included; writes are scoped to the tenant. Row-level security is the second line.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
)

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Update,
    Uuid,
    bindparam,
    delete,
    func,
    inspect,
    literal,
    select,
    update,
)
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.base import ExecutableOption

from domain.db import bulk
from domain.db.bulk import Upserted
from domain.db.orm import Base, Owned, Versioned
from domain.db.page import (
    MAX_LIMIT,
    Page,
    beyond,
    decode_cursor,
    encode_cursor,
    order_keys,
)
from domain.db.scope import Scope
from domain.errors import InvalidData, MultipleFound, NotFound, Stale

M = TypeVar("M", bound=Base)
T = TypeVar("T")

AnySelect: TypeAlias = Select[*tuple[Any, ...]]
Wait = Literal["wait", "nowait", "skip"]
OpenCursorSession = Callable[[], AbstractAsyncContextManager[AsyncSession]]

_TENANT: Final = "tenant_id"
_REPOSITORIES: Final[dict[type[Any], type["Repository[Any]"]]] = {}

__all__ = ["Page", "Repository", "Upserted", "Wait", "repository_for"]


class Repository(Generic[M]):
    """Reads and writes the rows of one model inside one unit.

    The model is taken from the generic argument::

        class TradeRepository(Repository[Trade]):
            async def of(self, portfolio: Portfolio, *, after: str | None = None) -> Page[Trade]:
                newest = self.query(Trade.portfolio_id == portfolio.id)
                return await self.page(newest.order_by(Trade.executed_at.desc()), after=after)

    Args:
        session: The unit's session.
        scope: The unit's scope; its tenant filters every statement of an owned model.
        cursor_session: Opens a session for server-side cursors.
    """

    model: ClassVar[type[Any]]
    _by_id: ClassVar[dict[bool, Select[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is Repository and isinstance(get_args(base)[0], type):
                cls.model = get_args(base)[0]
                _REPOSITORIES[cls.model] = cls
        cls._by_id = {}

    def __init__(
        self, session: AsyncSession, scope: Scope, cursor_session: OpenCursorSession
    ) -> None:
        self.session = session
        self.scope = scope
        self._cursor_session = cursor_session
        self._tenant: Any = scope.user_id

    # ── scope ────────────────────────────────────────────────────────────────────────────────

    def query(self, *where: ColumnElement[bool]) -> Select[M]:
        """Return the statement that every path starts from; override it to narrow the scope."""
        return cast("Select[M]", select(self.model).where(*self._scope(), *where))

    def _scope(self) -> tuple[ColumnElement[bool], ...]:
        if self._tenant is None or not issubclass(self.model, Owned):
            return ()
        return (self.model.user_id == self._tenant,)

    def _find_statement(self) -> Select[Any]:
        is_scoped = self._tenant is not None
        prebuilt = self._by_id.get(is_scoped)
        if prebuilt is None:
            prebuilt = self._by_id[is_scoped] = self._build_find_statement()
        return prebuilt

    def _build_find_statement(self) -> Select[Any]:
        # Building a select costs more than running it: once per class, with every value a
        # required parameter, so that no tenant's id can stay behind in the statement.
        template = type(self)(self.session, self.scope, self._cursor_session)
        if self._tenant is not None:
            template._tenant = bindparam(_TENANT, required=True, type_=Uuid())  # noqa: SLF001 - our own class
        keys = inspect(self.model).primary_key
        return template.query(
            *(key == bindparam(f"pk_{i}", type_=key.type) for i, key in enumerate(keys))
        )

    def _find_parameters(self, ident: Any) -> dict[str, Any]:
        values = ident if isinstance(ident, tuple) else (ident,)
        if len(values) != len(inspect(self.model).primary_key):
            raise InvalidData("id", ident, f"have {len(inspect(self.model).primary_key)} parts")
        parameters = {f"pk_{i}": value for i, value in enumerate(values)}
        return parameters if self._tenant is None else {_TENANT: self._tenant, **parameters}

    # ── read ─────────────────────────────────────────────────────────────────────────────────

    async def find(self, ident: Any, *options: ExecutableOption) -> M | None:
        """Return the row with this primary key, or None; a composite key is a tuple."""
        statement = self._find_statement()
        if options:
            statement = statement.options(*options)
        found = await self.session.execute(statement, self._find_parameters(ident))
        return cast("M | None", found.scalar())

    async def get(self, ident: Any, *options: ExecutableOption) -> M:
        """Return the row with this primary key.

        Raises:
            NotFound: No such row, or none that this tenant may see.
        """
        found = await self.find(ident, *options)
        if found is None:
            raise NotFound(f"{self.model.__name__} {ident} was not found")
        return found

    async def many(self, idents: Iterable[Any]) -> dict[Any, M]:
        """Return the rows that exist among these keys, by key; one statement.

        Raises:
            InvalidData: The model's key has several columns.
        """
        if len(inspect(self.model).primary_key) > 1:
            raise InvalidData("model", self.model.__name__, "have a key of one column")
        key = inspect(self.model).primary_key[0]
        statement = self.query(key.in_(list(idents)))
        rows = (await self.session.scalars(statement)).all()
        attribute = inspect(self.model).get_property_by_column(key).key
        return {getattr(row, attribute): row for row in rows}

    async def one(self, statement: Select[M]) -> M:
        """Return the only row of `statement`.

        Raises:
            NotFound: None.
            MultipleFound: More than one.
        """
        try:
            return (await self.session.scalars(statement.limit(2))).one()
        except NoResultFound:
            raise NotFound(f"{self.model.__name__} was not found") from None
        except MultipleResultsFound:
            raise MultipleFound(f"more than one {self.model.__name__} was found") from None

    async def first(self, statement: Select[M]) -> M | None:
        """Return the first row of `statement`, or None."""
        return (await self.session.scalars(statement.limit(1))).first()

    async def all(self, statement: Select[M] | None = None) -> Sequence[M]:
        """Return every row of `statement` (default: of the scope) at once."""
        return (await self.session.scalars(self.query() if statement is None else statement)).all()

    async def count(self, statement: AnySelect | None = None) -> int:
        """Return how many rows `statement` has; reads them all, so ask only when it matters."""
        source = (self.query() if statement is None else statement).order_by(None)
        counted = select(func.count()).select_from(_ones(source).subquery())
        return (await self.session.execute(counted)).scalar_one()

    async def exists(self, statement: AnySelect) -> bool:
        """Return whether `statement` has a row."""
        probe = select(_ones(statement.order_by(None)).exists())
        return bool((await self.session.execute(probe)).scalar_one())

    async def page(
        self,
        statement: Select[M],
        *,
        limit: int = 50,
        after: str | None = None,
        before: str | None = None,
    ) -> Page[M]:
        """Return one keyset page in the statement's own order.

        Args:
            statement: Ordered by columns of the model, in any directions; NULLs stand where the
                statement puts them.
            limit: Rows a page, 1 to 1,000.
            after: Cursor of the previous page's end.
            before: Cursor of the next page's start, to walk backwards.

        Raises:
            InvalidCursor: The cursor is not one, or belongs to another order.
            InvalidData: `limit` is out of range, or the order cannot be walked.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidData("limit", limit, f"lie between 1 and {MAX_LIMIT}")
        if after and before:
            raise InvalidData("before", before, "be absent when after is given")
        keys = order_keys(statement, self.model)
        is_backward = before is not None
        cursor = after or before
        if cursor is not None:
            values = decode_cursor(keys, cursor)
            statement = statement.where(beyond(keys, values, forward=not is_backward))
        ordering = [key.clause(forward=not is_backward) for key in keys]
        ordered = statement.order_by(None).order_by(*ordering).limit(limit + 1)
        rows = list((await self.session.scalars(ordered)).all())
        has_more = len(rows) > limit
        rows = rows[:limit]
        if is_backward:
            rows.reverse()
        return Page(
            items=rows,
            after=encode_cursor(keys, rows[-1]) if rows and (has_more or is_backward) else None,
            before=encode_cursor(keys, rows[0])
            if rows and (has_more if is_backward else after is not None)
            else None,
        )

    async def batches(
        self, statement: Select[M] | None = None, *, size: int = 1_000
    ) -> AsyncIterator[Sequence[M]]:
        """Yield the entities of `statement` in batches from a server-side cursor."""
        chosen = self.query() if statement is None else statement
        async with self._cursor_session() as session:
            stream = await session.stream_scalars(chosen.execution_options(yield_per=size))
            async for partition in stream.partitions(size):
                yield partition

    async def rows(
        self, statement: AnySelect, *, size: int = 1_000
    ) -> AsyncGenerator[Sequence[Row[Any]], None]:
        """Yield plain rows of `statement` in batches: half the cost of entities.

        A thousand rows stay in the processor's cache; larger batches are slower, not faster.
        """
        async with self._cursor_session() as session:
            connection = await session.connection()
            async with connection.stream(
                statement, execution_options={"yield_per": size}
            ) as stream:
                async for partition in stream.partitions(size):
                    yield partition

    # ── write ────────────────────────────────────────────────────────────────────────────────

    def add(self, entity: M) -> M:
        """Put `entity` into the unit; it is inserted with the next flush."""
        self.session.add(entity)
        return entity

    async def remove(self, entity: M) -> None:
        """Delete `entity` with the next flush."""
        await self.session.delete(entity)

    async def patch(self, ident: Any, *, version: int | None = None, **values: Any) -> M:
        """Change columns of one row in one statement and return it.

        Args:
            ident: The primary key.
            version: The version the caller has read; checked and counted up.
            values: New values by attribute name.

        Raises:
            NotFound: No such row.
            Stale: The row has another version by now.
            InvalidData: No such attribute, or a version for a model without one.
        """
        statement = self._patch_statement(values, version)
        keys = inspect(self.model).primary_key
        for key, value in zip(keys, ident if isinstance(ident, tuple) else (ident,), strict=True):
            statement = statement.where(key == value)
        found = await self.session.scalars(
            statement.returning(self.model),
            execution_options={"populate_existing": True, "synchronize_session": False},
        )
        row = found.first()
        if row is not None:
            return cast("M", row)
        existing = await self.get(ident)
        raise Stale(self.model.__tablename__, version or 0, getattr(existing, "version", None))

    def _patch_statement(self, values: Mapping[str, Any], version: int | None) -> Update:
        allowed = inspect(self.model).column_attrs.keys()
        for name in values:
            if name not in allowed or name in {"id", "user_id", "version"}:
                raise InvalidData(name, values[name], f"be a column of {self.model.__name__}")
        statement = update(self.model).where(*self._scope())
        if not issubclass(self.model, Versioned):
            if version is not None:
                raise InvalidData("version", version, "be absent: the model counts no edits")
            return statement.values(**values)
        if version is not None:
            statement = statement.where(self.model.version == version)
        return statement.values(**values, version=self.model.version + 1)

    async def lock(self, ident: Any, *, wait: Wait = "wait") -> M | None:
        """Lock and return one row, fresh from the database.

        Args:
            ident: The primary key.
            wait: ``wait`` up to the lock timeout, ``nowait`` to fail at once, ``skip`` for None.

        Raises:
            LockTimeout: Somebody else holds it.
        """
        statement = self._find_statement().with_for_update(
            nowait=wait == "nowait", skip_locked=wait == "skip", of=self.model
        )
        found = await self.session.execute(
            statement, self._find_parameters(ident), execution_options={"populate_existing": True}
        )
        return cast("M | None", found.scalar())

    # ── bulk ─────────────────────────────────────────────────────────────────────────────────

    async def insert_many(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert rows given by attribute name in one statement; return how many."""
        return await bulk.insert_many(self.session, self.model, self._owned(rows))

    async def copy_in(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert rows with COPY, the fastest way in; return how many.

        A table under row-level security takes a temporary stage, as PostgreSQL refuses COPY there.
        """
        return await bulk.copy_in(self.session, self.model, self._owned(rows))

    async def upsert_many(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        key: Sequence[str],
        update: Sequence[str],
        newer: str | None = None,
    ) -> Upserted:
        """Insert rows or update those whose `key` exists.

        Args:
            rows: Values by attribute name; the last of several rows with one key wins.
            key: Attributes of a unique constraint.
            update: Attributes to overwrite; empty leaves existing rows alone.
            newer: An attribute that must not go back: a row with a smaller one changes nothing.
        """
        plan = bulk.UpsertPlan(self.model, tuple(key), tuple(update), newer)
        return await bulk.upsert_many(self.session, plan, self._owned(rows))

    async def delete_where(self, *where: ColumnElement[bool]) -> int:
        """Delete the rows of the scope that match; return how many.

        Raises:
            InvalidData: No condition was given.
        """
        if not where:
            raise InvalidData("where", (), "name at least one condition")
        statement = delete(self.model).where(*self._scope(), *where)
        result = await self.session.execute(
            statement, execution_options={"synchronize_session": False}
        )
        return int(result.rowcount)  # type: ignore[attr-defined]  # a DELETE's cursor result

    def _owned(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        if self._tenant is None or not issubclass(self.model, Owned):
            return rows
        return [{"user_id": self._tenant, **row} for row in rows]


def _ones(statement: AnySelect) -> Select[int]:
    return statement.with_only_columns(literal(1), maintain_column_froms=True)


def repository_for(model: type[M]) -> type[Repository[M]]:
    """Return the repository class of `model`: the declared one, else a plain one made once."""
    found = _REPOSITORIES.get(model)
    if found is None:
        found = type(f"{model.__name__}Repository", (Repository,), {"model": model})
        _REPOSITORIES[model] = found
    return found
