"""The write path: every write of a unit of work is watched, and told to the store around COMMIT.

Three things see the writes. A flush names its rows, old values and new. Every other statement
passes the engine, ORM, Core and text alike: the tables it writes are read off its SQL, and what its
WHERE or its rows say narrows them. COPY passes neither and is announced by `domain.db.bulk`.

Before COMMIT the store hears of the writer (`Store.begin`), after it that it is through. When the
store cannot be told, the stale keys are written into the same transaction (`domain.cache.pending`).
A COMMIT whose outcome is unknown leaves its intent to run out by itself.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, event, inspect
from sqlalchemy.engine import Engine as SqlEngine
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.orm import InstanceState, Session, SessionTransaction
from sqlalchemy.util import await_only

from domain.cache.dependencies import Dependencies, Touches, cascaded, deletes, written_tables
from domain.cache.guarded import GuardedStore
from domain.cache.pending import put_off
from domain.cache.statements import changed_by_itself, said
from domain.cache.store import Ended, Touched, new_stamp
from domain.db.driver import ScopedConnection
from domain.db.orm import Base
from domain.db.scope import Scope
from domain.db.session import SCOPE, WriteSession, driver_connection
from domain.db.written import WRITES, WrittenRows
from domain.errors import Unavailable

_log: Final = logging.getLogger(__name__)
_TRIES: Final = 6
_TOGETHER: Final = 0.003


@dataclass(frozen=True)
class WriteRules:
    """How writes are told to the store.

    Args:
        intent_seconds: How long a writer may take from before its COMMIT to after it.
        strict: A store that does not answer fails the transaction, instead of the outbox.
        always_put_off: Write the outbox also when the store answered: for servers whose replicas
            may take over without the newest writes.
    """

    intent_seconds: float
    strict: bool = False
    always_put_off: bool = False


class Invalidation:
    """Tells a store what the units of work of one database write.

    Args:
        store: The store.
        dependencies: What is stale by which write.
        rules: How the store is told.
        replay: Called after a commit whose invalidations were put off.
    """

    def __init__(
        self,
        store: GuardedStore,
        dependencies: Dependencies,
        rules: WriteRules,
        *,
        replay: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self.dependencies = dependencies
        self._rules = rules
        self._replay = replay
        self._ending: list[Ended] = []
        self._is_put_off = self._is_ending = False
        self._tasks: set[asyncio.Task[None]] = set()

    def new_writer(self) -> "Writer":
        """Return the watcher of one session, for its ``info``."""
        return Writer(self)

    def watch(self, engine: SqlEngine) -> None:
        """Watch the statements of an engine."""
        event.listen(engine, "before_cursor_execute", _see_statement)

    async def begin(self, writer: "Writer", touched: Touched) -> bool:
        """Tell the store that a transaction commits now; return False when it did not hear.

        Raises:
            Unavailable: The store does not answer, and the rules are strict.
        """
        ended = self._take_ended()
        try:
            await self._store.begin(writer.name, touched, self._rules.intent_seconds, ended)
        except Unavailable:
            for done in ended:
                self.end_soon(done.writer, done.touched, put_off=False)
            if self._rules.strict:
                raise
            return False
        return True

    @property
    def rules(self) -> WriteRules:
        """How writes are told to the store."""
        return self._rules

    def end_soon(self, name: str, touched: Touched, *, put_off: bool) -> None:
        """Tell the store that a transaction is through, without keeping the writer waiting."""
        self._ending.append(Ended(name, touched))
        self._is_put_off |= put_off
        if not self._is_ending:
            self._is_ending = True
            task = asyncio.create_task(self._end())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait until the store has heard of everything, or was found not to answer."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self) -> None:
        """Tell the store of all that are through, until none is left."""
        try:
            while self._ending or self._is_put_off:
                # Those who commit at the same time are told of together, or with the next BEGIN.
                await asyncio.sleep(_TOGETHER)
                put_off, self._is_put_off = self._is_put_off, False
                if ended := self._take_ended():
                    await self._tell(ended)
                if put_off:
                    await self._replay()
        finally:
            # Here and not when the task is seen to be done: who comes between must start another.
            self._is_ending = False

    async def _tell(self, ended: Sequence[Ended]) -> None:
        for attempt in range(_TRIES):
            try:
                return await self._store.end(ended)
            except Unavailable:
                await asyncio.sleep(0.05 * 2**attempt)
        _log.warning("write intents run out by themselves: the cache's server does not answer")
        return None

    def _take_ended(self) -> list[Ended]:
        ended, self._ending = self._ending, []
        return ended


@dataclass
class Writer:
    """What one session has written since its transaction began.

    Attributes:
        name: Names the transaction to the store; a new one for each.
        touches: What is stale by it.
    """

    invalidation: Invalidation
    name: str = field(default_factory=new_stamp)
    touches: Touches = field(default_factory=Touches)
    has_written: bool = False
    _begun: Touched | None = None
    _put_off: bool = False
    _flushing: bool = False
    _connection: ScopedConnection | None = None
    _scope: Scope | None = None

    def connected(self, connection: ScopedConnection, scope: Scope) -> None:
        """Remember the connection and the scope of the transaction that begins."""
        self._connection, self._scope = connection, scope
        connection.observer = self

    def disconnected(self) -> None:
        """Forget the connection, which somebody else may have by now."""
        if self._connection is not None and self._connection.observer is self:
            self._connection.observer = None
        self._connection = None

    def flushing(self, *, is_on: bool) -> None:
        """Remember that statements are a flush's, whose rows are named otherwise."""
        self._flushing = is_on

    def row(
        self, table: Table, values: Mapping[str, Any], *, changed: frozenset[str] | None = None
    ) -> None:
        """Take note of one written row, and of the only columns of it that changed if known."""
        self.has_written = True
        self._touch(table.fullname, values, changed)

    def deleted(self, table: Table, values: Mapping[str, Any]) -> None:
        """Take note of one deleted row."""
        self.row(table, values)
        self._touch_children(table, values)

    def rows(self, written: WrittenRows) -> None:
        """Take note of rows that were written in bulk."""
        self.has_written = True
        name = written.table.fullname
        dependencies = self.invalidation.dependencies
        if not dependencies.concerns(name):
            return
        for values in written.values_of(dependencies.columns(name)):
            self._touch(name, self._shared() | values)

    def statement(self, sql: str, context: Any) -> None:
        """Take note of a statement that is about to run."""
        tables = written_tables(sql)
        if self._flushing or not tables:
            return
        self.has_written = True
        shared = self._shared()
        for name in tables:
            rows = said(context, name)
            known = shared | rows.values(context)
            self._touch(name, known, rows.assigned)
            if deletes(sql):
                self._touch_children(Base.metadata.tables.get(name), known)

    def before_commit(self, session: Session) -> None:
        """Tell the store, or the outbox."""
        touched = self.touches.take()
        if not touched:
            return
        began = time.monotonic()
        told = await_only(self.invalidation.begin(self, touched))
        self._begun = touched
        rules = self.invalidation.rules
        self._put_off = not told or rules.always_put_off
        if self._put_off:
            put_off(session, touched)
        if told and self._connection is not None:
            # Half of the time is left for COMMIT itself.
            self._connection.limit_commit(began, rules.intent_seconds / 2)

    def after_end(self, *, is_commit: bool) -> None:
        """Tell the store that the transaction is through, and begin anew."""
        touched, put_off = self._begun, self._put_off and is_commit
        unknown = not is_commit and self._connection is not None and self._connection.is_in_doubt
        if touched is not None and not unknown:
            self.invalidation.end_soon(self.name, touched, put_off=put_off)
        self.name, self.touches = new_stamp(), Touches()
        self.disconnected()
        self._begun, self._put_off = None, False
        self.has_written = False

    def _touch(
        self, table: str, values: Mapping[str, Any], changed: frozenset[str] | None = None
    ) -> None:
        self.invalidation.dependencies.touch(self.touches, table, values, changed=changed)

    def _touch_children(self, table: Table | None, values: Mapping[str, Any]) -> None:
        shared = self._shared()
        for child, known in () if table is None else cascaded(table, values):
            own = shared if "user_id" in child.columns else {}
            self._touch(child.fullname, {**known, **own})

    def _shared(self) -> dict[str, Any]:
        """Return what all rows that this transaction may write have in common."""
        if self._scope is None or self._scope.user_id is None:
            return {}
        return {"user_id": self._scope.user_id}


def writer_of(session: Session) -> Writer | None:
    """Return the watcher of a session, if it has one."""
    found = session.info.get(WRITES)
    return found if isinstance(found, Writer) else None


@event.listens_for(WriteSession, "after_begin")
def _connect(session: Session, _: SessionTransaction, connection: Connection) -> None:
    if writer := writer_of(session):
        writer.connected(driver_connection(connection), session.info[SCOPE])


@event.listens_for(WriteSession, "before_flush")
def _before_flush(session: Session, *_: Any) -> None:
    if writer := writer_of(session):
        writer.flushing(is_on=True)


@event.listens_for(WriteSession, "after_flush")
def _after_flush(session: Session, *_: Any) -> None:
    writer = writer_of(session)
    if writer is None:
        return
    writer.flushing(is_on=False)
    for entity in session.new:
        # Its state before is none: that would name everything.
        for table, values in _rows_of(entity)[-1:]:
            writer.row(table, values)
    for entity in session.dirty:
        for table, values in _rows_of(entity):
            writer.row(table, values, changed=_changes(entity))
    for entity in session.deleted:
        for table, values in _rows_of(entity):
            writer.deleted(table, values)


@event.listens_for(WriteSession, "before_commit")
def _before_commit(session: Session) -> None:
    writer = writer_of(session)
    if writer is None or session.in_nested_transaction():
        return
    session.flush()
    writer.before_commit(session)


@event.listens_for(WriteSession, "after_commit")
def _after_commit(session: Session) -> None:
    writer = writer_of(session)
    # Sent for savepoints too, when the transaction is not through.
    if writer is not None and not session.in_nested_transaction():
        writer.after_end(is_commit=True)


@event.listens_for(WriteSession, "after_rollback")
def _after_rollback(session: Session) -> None:
    writer = writer_of(session)
    if writer is None:
        return
    writer.flushing(is_on=False)
    if not session.in_nested_transaction():
        writer.after_end(is_commit=False)


@event.listens_for(WriteSession, "after_transaction_end")
def _after_end(session: Session, transaction: SessionTransaction) -> None:
    writer = writer_of(session)
    if writer is not None and transaction.parent is None:
        writer.disconnected()


def _see_statement(
    connection: Connection,
    _cursor: Any,
    statement: str,
    _parameters: Any,
    context: ExecutionContext | None,
    _many: bool,  # noqa: FBT001 - SQLAlchemy's signature
) -> None:
    writer = driver_connection(connection).observer
    if not isinstance(writer, Writer):
        return
    rows = None if context is None else context.execution_options.get(WRITES)
    if isinstance(rows, WrittenRows):
        writer.rows(rows)
    else:
        writer.statement(statement, context)


def _rows_of(entity: object) -> list[tuple[Table, dict[str, Any]]]:
    """Return the row of an entity as it was and as it is, by column."""
    state: InstanceState[Any] = inspect(entity)
    table = state.mapper.local_table
    if not isinstance(table, Table):
        return []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for attribute in state.mapper.column_attrs:
        history = state.attrs[attribute.key].history
        name = str(attribute.columns[0].name)
        current = [*history.added, *history.unchanged]
        if current:
            after[name] = current[0]
        # The old value of what was not loaded is unknown, so it names nothing.
        former = [*history.deleted, *history.unchanged]
        if former:
            before[name] = former[0]
    return [(table, after)] if before == after else [(table, before), (table, after)]


def _changes(entity: object) -> frozenset[str] | None:
    """Return the columns that a flush changed in an entity; None when none is known to have."""
    state: InstanceState[Any] = inspect(entity)
    changed = {
        str(attribute.columns[0].name)
        for attribute in state.mapper.column_attrs
        if state.attrs[attribute.key].history.has_changes()
    }
    if not changed:
        return None
    columns = state.mapper.local_table.columns
    automatic = changed_by_itself(columns)
    version = state.mapper.version_id_col
    counted = set() if version is None else {str(version.name)}
    return frozenset(changed | automatic | counted)
