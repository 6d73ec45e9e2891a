"""Guessing is slowed down, for all processes together, and also while Redis is away."""

import asyncio
import os
import signal

import pytest

from domain.cache.client import parse_redis_url
from domain.cache.embedded import EmbeddedValkey
from domain.cache.keys import Keyspace
from domain.cache.throttling import Claim, Rate, Throttle

RATE = Rate("tries", 5, 300)
ADA, EVE = Claim(RATE, "ada"), Claim(RATE, "eve")


@pytest.fixture(params=["this process", "Redis"])
def address(request: pytest.FixtureRequest, redis_url: str) -> str:
    return redis_url if request.param == "Redis" else "memory://"


async def test_after_so_many_tries_one_waits_and_others_do_not(
    address: str, cache_prefix: str
) -> None:
    throttle = Throttle(parse_redis_url(address), Keyspace(cache_prefix))
    assert [await throttle.attempt(ADA) for _ in range(5)] == [0] * 5
    assert 0 < await throttle.attempt(ADA) <= 301
    assert await throttle.attempt(EVE) == 0
    await throttle.aclose()


async def test_a_hundred_tries_at_once_do_not_all_find_the_window_empty(
    address: str, cache_prefix: str
) -> None:
    throttle = Throttle(parse_redis_url(address), Keyspace(cache_prefix))
    waits = await asyncio.gather(*(throttle.attempt(ADA) for _ in range(100)))
    assert waits.count(0) == 5
    await throttle.aclose()


async def test_success_forgets_the_account_and_takes_back_one_try_of_the_address(
    address: str, cache_prefix: str
) -> None:
    throttle = Throttle(parse_redis_url(address), Keyspace(cache_prefix))
    place = Claim(RATE, "1.2.3.4")
    for _ in range(5):
        await throttle.attempt(ADA, place)
    await throttle.forgive(ADA)
    await throttle.give_back(place)
    assert await throttle.attempt(ADA) == 0
    assert [bool(await throttle.attempt(place)) for _ in range(2)] == [False, True]
    await throttle.give_back(Claim(RATE, "nobody tried"))
    await throttle.aclose()


async def test_two_processes_count_together(redis_url: str, cache_prefix: str) -> None:
    address, keys = parse_redis_url(redis_url), Keyspace(cache_prefix)
    one, other = Throttle(address, keys), Throttle(address, keys)
    for throttle in (one, other, one, other, one):
        assert await throttle.attempt(ADA) == 0
    assert await other.attempt(ADA) > 0
    for throttle in (one, other):
        await throttle.aclose()


async def test_names_and_addresses_do_not_reach_redis(redis_server: EmbeddedValkey) -> None:
    throttle = Throttle(parse_redis_url(redis_server.url), Keyspace("tk"))
    await throttle.attempt(Claim(RATE, "ada@example.com"), Claim(RATE, "\udcff " * 500))
    assert throttle._shared is not None
    keys = [key async for key in throttle._shared.client.scan_iter()]
    assert len(keys) == 2
    assert all(key.startswith(b"tk:limits:") and b"ada" not in key for key in keys)
    await throttle.aclose()


async def test_without_redis_each_process_counts_for_itself(redis_server: EmbeddedValkey) -> None:
    throttle = Throttle(parse_redis_url(redis_server.url), Keyspace("tk"))
    assert await throttle.attempt(ADA) == 0
    os.kill(redis_server.pid, signal.SIGKILL)
    assert [bool(await throttle.attempt(ADA)) for _ in range(6)] == [False] * 5 + [True]
    await throttle.forgive(ADA)
    assert await throttle.attempt(ADA) == 0
    await throttle.aclose()
