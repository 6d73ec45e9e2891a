"""Builds the two engines of a database: transactions, and autocommit reads.

The read engine exists because a read inside a transaction costs three round trips instead of one.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from domain.clock import new_id
from domain.db.driver import connect
from domain.db.exact_json import stored, written
from domain.db.sqlstate import translate
from domain.errors import ConfigurationError, Unavailable
from domain.settings import Settings

_RECYCLE_SECONDS: Final = 1_800


class BoundedPool(AsyncAdaptedQueuePool):
    """A pool that says in our words that no connection was free in time."""

    def connect(self) -> PoolProxiedConnection:
        """Check a connection out."""
        try:
            return super().connect()
        except PoolTimeoutError as error:
            raise Unavailable("no database connection was free in time") from error


def parse_url(text: str) -> URL:
    """Return the asyncpg URL for any way people write a PostgreSQL URL.

    Raises:
        ConfigurationError: Not a URL, or another database. The message never shows the URL.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigurationError("DATABASE_URL must be a URL: postgresql://…") from None
    if url.drivername.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ConfigurationError("DATABASE_URL must begin with postgresql://")
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername="postgresql+asyncpg", query=query)


def write_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Return the engine for transactions."""
    return _engine(url, settings)


def read_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Return the engine for autocommit reads.

    Behind PgBouncer in transaction mode a connection is another server session each time, so a
    scope cannot stay on it: reads use transactions there.
    """
    if settings.pgbouncer:
        return _engine(url, settings)
    # The pool resets nothing: autocommit leaves nothing to roll back.
    return _engine(
        url,
        settings,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        server_settings={"default_transaction_read_only": "on"},
    )


def loading_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Return the engine for the cache's loaders.

    A pool of its own: a reader that holds a connection and waits for a loader must not keep the
    loader from its connection.
    """
    alone = settings.model_copy(update={"pool_size": settings.cache_loaders, "pool_overflow": 0})
    return _engine(url, alone)


def listening_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Return the engine for the one connection that listens, which no pool may take."""
    alone = settings.model_copy(update={"pool_size": 1, "pool_overflow": 0})
    return _engine(url, alone, isolation_level="AUTOCOMMIT")


def _engine(
    url: URL, settings: Settings, server_settings: Mapping[str, str] | None = None, **options: Any
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        poolclass=BoundedPool,
        pool_size=settings.pool_size,
        max_overflow=settings.pool_overflow,
        pool_timeout=settings.pool_timeout,
        pool_recycle=_RECYCLE_SECONDS,
        hide_parameters=True,
        json_serializer=written,
        json_deserializer=stored,
        connect_args=_connect_args(settings, server_settings or {}),
        **options,
    )
    event.listen(engine.sync_engine, "handle_error", translate)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _connect_args(settings: Settings, extra: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "async_creator_fn": connect,
        "timeout": settings.connect_timeout,
        # Longer than the server's own limit: the server's error says more than ours.
        "command_timeout": settings.statement_timeout + 5,
    }
    if settings.pgbouncer:
        # PgBouncer refuses startup parameters: ALTER ROLE sets them (docs/pages/units-of-work.md).
        arguments["prepared_statement_cache_size"] = 0
        arguments["statement_cache_size"] = 0
        arguments["prepared_statement_name_func"] = lambda: f"__tk_{new_id().hex}__"
        return arguments
    arguments["server_settings"] = {
        "application_name": "tradekeep",
        "timezone": "UTC",
        "statement_timeout": _milliseconds(settings.statement_timeout),
        "lock_timeout": _milliseconds(settings.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(settings.idle_timeout),
        # Compiling a statement of ours takes longer than running it: seconds on PostgreSQL 15.
        "jit": "off",
        **extra,
    }
    return arguments


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _refuse_closed(connection: Any, _record: Any, _proxy: Any) -> None:
    # asyncpg notices when the server hangs up; a ping would cost three round trips a checkout.
    if connection.driver_connection.is_closed():
        raise DisconnectionError
