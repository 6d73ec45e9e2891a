"""The only place that builds Redis clients: redis-py's defaults are wrong for a cache.

With its defaults a refused port costs 4.6 s a command, a frozen server 40 s, and a blocking read
of a stream never returns. Redis and Valkey are addressed by URL:

========================================================  =======================================
``redis://user:password@host:6379/0``                     one server; ``rediss://`` for TLS
``unix:///path/to/valkey.sock``                           one server on a Unix socket
``redis+sentinel://host:26379,host:26379/service/0``      the primary that the Sentinels name
``redis+cluster://host:7000,host:7001``                   a cluster; ``rediss+cluster://`` for TLS
``memory://``                                             no server: this process only
========================================================  =======================================
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from domain.errors import ConfigurationError

Client: TypeAlias = "Redis | RedisCluster"

MEMORY: Final = "memory"
_SENTINEL_PORT: Final = 26_379
_CLUSTER_PORT: Final = 6_379
_MOST_CONNECTIONS: Final = 50
_CLUSTER_TRIES: Final = 3
_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    MEMORY,
)
_RULE: Final = f"REDIS_URL must begin with one of {', '.join(f'{name}://' for name in _SCHEMES)}"


class Use(StrEnum):
    """What a client is for; it decides how long it waits and whether it tries again."""

    CACHE = "cache"
    """No second try and no timeout of its own: the caller gives every batch a budget."""
    COMMANDS = "commands"
    """Ordinary commands: 5 seconds, three tries."""
    BLOCKING = "blocking"
    """Waits for messages: no read timeout, one connection per waiter."""


@dataclass(frozen=True, repr=False)
class Address:
    """Where Redis is, parsed from a URL; never shown, because it holds the password."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def is_memory(self) -> bool:
        """Whether no server is wanted."""
        return self.scheme == MEMORY

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several servers."""
        return self.scheme.endswith("+cluster")


def parse_redis_url(text: str) -> Address:
    """Return the address in a URL.

    Raises:
        ConfigurationError: Not such a URL; the message never shows it.
    """
    try:
        parts = urlsplit(text)
        _ = parts.scheme if "," in parts.netloc else parts.port
    except ValueError:
        raise ConfigurationError("REDIS_URL must be a URL: redis://host:6379/0") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(_RULE)
    if parts.scheme == MEMORY:
        return Address(MEMORY)
    if "+" in parts.scheme:
        return _several(parts)
    try:
        arguments = parse_url(text)
    except ValueError:
        raise ConfigurationError("REDIS_URL must be a URL: redis://host:6379/0") from None
    return Address(parts.scheme, arguments=tuple(arguments.items()))


def _several(parts: SplitResult) -> Address:
    login, _, hosts = parts.netloc.rpartition("@")
    port = _CLUSTER_PORT if parts.scheme.endswith("+cluster") else _SENTINEL_PORT
    found = tuple(_host(item, port) for item in hosts.split(",") if item)
    if not found:
        raise ConfigurationError("REDIS_URL must name at least one host")
    user, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    arguments: dict[str, Any] = {"ssl": True} if parts.scheme.startswith("rediss") else {}
    if user:
        arguments["username"] = unquote(user)
    if password:
        arguments["password"] = unquote(password)
    if parts.scheme.endswith("+sentinel"):
        if not service or not (database or "0").isdigit():
            raise ConfigurationError("REDIS_URL must be redis+sentinel://host,host/service/number")
        arguments["db"] = int(database or 0)
    return Address(parts.scheme, found, service, tuple(arguments.items()))


def _host(text: str, default_port: int) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), default_port
    if not port.isdigit():
        raise ConfigurationError("REDIS_URL must give ports as numbers")
    return name.strip("[]"), int(port)


def build_client(address: Address, use: Use) -> Client:
    """Return a client that has connected to nothing yet; close it with ``aclose()``.

    Raises:
        ConfigurationError: The address names no server.
    """
    if address.is_memory:
        raise ConfigurationError("memory:// has no server: set REDIS_URL to one")
    options = _options(use) | dict(address.arguments)
    if address.scheme != "unix":
        options["socket_keepalive"] = True
    if address.is_cluster:
        return _cluster(address, options)
    options["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
    if address.hosts:
        return _primary(address, options)
    pool = BlockingConnectionPool(max_connections=_MOST_CONNECTIONS, timeout=None, **options)
    return Redis.from_pool(pool)


def _options(use: Use) -> dict[str, Any]:
    patient = use is Use.COMMANDS
    retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3)
    return {
        "socket_connect_timeout": 5.0,
        "socket_timeout": 5.0 if patient else None,
        "retry": retry if patient else Retry(NoBackoff(), 0),
    }


def _cluster(address: Address, options: dict[str, Any]) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    # Being sent to another node counts as a try, so a cluster's client needs some.
    options["retry"] = Retry(NoBackoff(), _CLUSTER_TRIES)
    return RedisCluster(
        startup_nodes=nodes,
        require_full_coverage=False,
        max_connections=_MOST_CONNECTIONS,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        **options,
    )


def _primary(address: Address, options: dict[str, Any]) -> Redis:
    # The Sentinels are other servers than the primary: they get no login of its.
    patience = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    sentinel = Sentinel(list(address.hosts), sentinel_kwargs=patience)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    primary: Redis = sentinel.master_for(address.service, redis_class=_Primary, **options)
    return primary


class _Primary(Redis):
    """Closes its connections to the Sentinels too; redis-py leaves them open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - redis-py's
        await super().aclose(close_connection_pool)
        manager = getattr(self.connection_pool, "sentinel_manager", None)
        for sentinel in manager.sentinels if manager else ():
            await sentinel.aclose()
