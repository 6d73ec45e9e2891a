"""How Redis is addressed, and the defaults of redis-py that must not come back."""

import asyncio
import os
import signal
import time

import pytest

from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.embedded import EmbeddedValkey
from domain.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "http://secret@host",
        "redis://host:notaport",
        "redis+sentinel://:secret@host",
        "redis+sentinel://host/service/x",
        "redis+cluster://:secret@",
        "redis+cluster://host:secret",
        "secret",
        "",
    ],
)
def test_a_wrong_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL must") as caught:
        parse_redis_url(url)
    assert "secret" not in str(caught.value)


def test_an_address_never_shows_its_password() -> None:
    assert "secret" not in repr(parse_redis_url("redis://user:secret@host/3"))


def test_hosts_ports_service_and_login_are_read_from_the_url() -> None:
    address = parse_redis_url("rediss+sentinel://me:p%40ss@one,[::1]:26380/primary/2")
    assert address.hosts == (("one", 26379), ("::1", 26380))
    assert address.service == "primary"
    assert dict(address.arguments) == {"ssl": True, "username": "me", "password": "p@ss", "db": 2}
    assert parse_redis_url("redis+cluster://one,two:7001").hosts == (("one", 6379), ("two", 7001))


def test_memory_has_no_client() -> None:
    with pytest.raises(ConfigurationError, match="no server"):
        build_client(parse_redis_url("memory://"), Use.CACHE)


@pytest.mark.parametrize("use", Use)
async def test_every_client_works(use: Use, redis_url: str, cache_prefix: str) -> None:
    client = build_client(parse_redis_url(redis_url), use)
    try:
        await client.set(f"{cache_prefix}:k", "v", ex=60)
        assert await client.get(f"{cache_prefix}:k") == b"v"
    finally:
        await client.aclose()


async def test_more_callers_than_connections_wait_instead_of_failing(redis_url: str) -> None:
    client = build_client(parse_redis_url(redis_url), Use.CACHE)
    try:
        answers = await asyncio.gather(*(client.ping() for _ in range(300)))
        assert all(answers)
    finally:
        await client.aclose()


async def test_a_refused_port_is_an_error_at_once_and_not_after_ten_tries() -> None:
    client = build_client(parse_redis_url("redis://127.0.0.1:1/0"), Use.CACHE)
    tries = 0
    with pytest.raises(Exception, match=r"Error|refused"):
        async with asyncio.timeout(2):
            tries += 1
            await client.get("k")
    assert tries == 1
    await client.aclose()


async def test_a_blocking_read_returns_when_nothing_comes(
    redis_url: str, cache_prefix: str
) -> None:
    """With redis-py's defaults ``XREAD BLOCK 7000`` was never seen to return."""
    client = build_client(parse_redis_url(redis_url), Use.BLOCKING)
    try:
        async with asyncio.timeout(30):
            assert not await client.xread({f"{cache_prefix}:stream": "$"}, block=5_500)
    finally:
        await client.aclose()


async def test_a_frozen_server_keeps_a_caller_no_longer_than_its_budget(
    redis_server: EmbeddedValkey,
) -> None:
    client = build_client(parse_redis_url(redis_server.url), Use.CACHE)
    await client.ping()
    os.kill(pid := redis_server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get("k")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await client.get("k") is None
    await client.aclose()


def test_processes_share_a_server_and_the_last_one_stops_it(redis_server: EmbeddedValkey) -> None:
    second = EmbeddedValkey(redis_server.folder)
    second.start()
    pid = second.pid
    redis_server.stop()
    assert second.pid == pid
    second.stop()
    for _ in range(200):
        if not second.socket_path.exists():
            break
        time.sleep(0.02)
    with pytest.raises(ConfigurationError, match="no Valkey answers"):
        _ = second.pid


def test_a_killed_server_is_started_again_by_the_next_start(redis_server: EmbeddedValkey) -> None:
    os.kill(first := redis_server.pid, signal.SIGKILL)
    redis_server.start()
    assert redis_server.pid != first


def test_a_folder_with_other_things_in_it_is_refused(redis_server: EmbeddedValkey) -> None:
    folder = redis_server.folder.parent / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="not empty"):
        EmbeddedValkey(folder).start()
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_nobody_else_may_enter_the_folder_of_the_socket(redis_server: EmbeddedValkey) -> None:
    assert redis_server.socket_path.parent.stat().st_mode & 0o077 == 0
