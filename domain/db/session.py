"""The two session types: one that writes in a transaction, one that reads in autocommit.

They bind the scope when they first take a connection; nobody else touches it.
"""

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from domain.db.driver import ScopedConnection
from domain.db.scope import Scope
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


@event.listens_for(ReadSession, "before_flush")
def _refuse_flush(*_: Any) -> None:
    raise ReadOnly("a read session cannot write: use db.transaction(...)")
