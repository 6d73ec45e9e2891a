"""The two session types: one that writes in a transaction, one that reads in autocommit.

They bind the scope when they first take a connection; nobody else touches it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, event, inspect
from sqlalchemy.orm import Session, SessionTransaction

from domain.db.driver import ScopedConnection
from domain.db.scope import Scope
from domain.db.timeseries import room_for, series_of
from domain.errors import ReadOnly

SCOPE = "scope"


class WriteSession(Session):
    """A session whose BEGIN carries the scope."""


class ReadSession(Session):
    """A session in autocommit, bound to a scope; it refuses to flush."""


def driver_connection(connection: Connection) -> ScopedConnection:
    """Return the asyncpg connection below a SQLAlchemy connection."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, ScopedConnection)  # noqa: S101 - the engine creates nothing else
    return driver


@event.listens_for(WriteSession, "after_begin")
def _fold_scope_into_begin(session: Session, _: SessionTransaction, connection: Connection) -> None:
    driver_connection(connection).next_scope = session.info[SCOPE]


@event.listens_for(ReadSession, "after_begin")
def _bind_scope(session: Session, _: SessionTransaction, connection: Connection) -> None:
    driver = driver_connection(connection)
    scope: Scope = session.info[SCOPE]
    if driver.bound_scope == scope:
        return
    # Forgotten first: if binding fails half-way, the next user must bind anew.
    driver.bound_scope = None
    connection.exec_driver_sql(scope.statement(local=False))
    driver.bound_scope = scope


@event.listens_for(WriteSession, "before_flush")
def _make_room(session: Session, *_: Any) -> None:
    """Make the partitions for new rows of time series before they are inserted."""
    times: dict[Table, list[datetime]] = {}
    for entity in session.new:
        table = inspect(type(entity)).local_table
        if isinstance(table, Table) and (found := series_of(table)):
            times.setdefault(table, []).append(getattr(entity, found.by))
    for table, moments in times.items():
        if room := room_for(table, moments):
            session.execute(*room)


@event.listens_for(ReadSession, "before_flush")
def _refuse_flush(*_: Any) -> None:
    raise ReadOnly("a read session cannot write: use db.transaction(...)")
