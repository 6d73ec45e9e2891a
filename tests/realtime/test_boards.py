"""Boards are made once, never cover a newer fact, and Redis' failure is nobody's error."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from domain.cache.client import Client, Use, build_client, parse_redis_url
from domain.cache.embedded import EmbeddedValkey
from domain.cache.keys import Keyspace
from domain.errors import InvalidData
from domain.realtime.boards import Boards, HashBoard, ListBoard, RankBoard, TextBoard, Upkeep

EASY = Upkeep(budget=2)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Client]:
    made = build_client(parse_redis_url(redis_url), Use.CACHE)
    yield made
    await made.aclose()


@pytest.fixture
async def boards(client: Client) -> AsyncIterator[Boards]:
    made = Boards(client, upkeep=EASY)
    yield made
    await made.aclose()


@pytest.fixture
def keys(cache_prefix: str) -> Keyspace:
    return Keyspace(cache_prefix)


class Source:
    """What PostgreSQL would say, slowly."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.asked = 0

    async def __call__(self) -> Any:
        self.asked += 1
        value = self.value
        await asyncio.sleep(0.05)
        return value


def newest(keys: Keyspace, **values: Any) -> ListBoard:
    return ListBoard(keys, f"{keys.prefix}:trades:{{a}}", 60, **({"most": 5} | values))


async def test_each_kind_shows_what_it_was_made_of(boards: Boards, keys: Keyspace) -> None:
    async def trades() -> Sequence[bytes]:
        return [b"3", b"2", b"1"]

    async def positions() -> Mapping[str, bytes]:
        return {"BTC": b"{}", "AAPL": b"[]"}

    async def ranking() -> Sequence[tuple[str, float]]:
        return [("b", -1.5), ("a", 12.25)]

    async def text() -> bytes:
        return b'{"a":1}'

    for _ in range(2):
        assert await boards.read(newest(keys), trades) == [b"3", b"2", b"1"]
        held = await boards.read(HashBoard(keys, f"{keys.prefix}:p:{{a}}", 60), positions)
        assert dict(held) == {"BTC": b"{}", "AAPL": b"[]"}
        assert await boards.read(TextBoard(keys, f"{keys.prefix}:t:{{a}}", 60), text) == b'{"a":1}'
    ranks = RankBoard(keys, f"{keys.prefix}:r:{{a}}", 60)
    await boards.read(ranks, ranking)
    assert await boards.read(ranks, ranking) == [("a", 12.25), ("b", -1.5)]
    best = RankBoard(keys, f"{keys.prefix}:r:{{a}}", 60, wanted=1)
    assert await boards.read(best, ranking) == [("a", 12.25)]
    assert (boards.tally.made, boards.tally.hits) == (4, 5)


async def test_two_hundred_readers_of_a_missing_board_ask_postgresql_once(
    boards: Boards, keys: Keyspace
) -> None:
    source = Source([b"1"])
    found = await asyncio.gather(*(boards.read(newest(keys), source) for _ in range(200)))
    assert found == [[b"1"]] * 200
    assert (source.asked, boards.tally.made, boards.tally.hits) == (1, 1, 199)


async def test_a_board_of_nothing_is_remembered_too(
    boards: Boards, keys: Keyspace, client: Client
) -> None:
    source = Source([])
    for _ in range(3):
        assert await boards.read(newest(keys), source) == []
    assert source.asked == 1
    key = newest(keys).key
    assert 0 < await client.ttl(f"{key}:made") <= 60
    assert await client.exists(f"{key}:lease") == 0


async def test_an_evicted_board_is_missing_and_not_empty(
    boards: Boards, keys: Keyspace, client: Client
) -> None:
    source, board = Source([b"2", b"1"]), newest(keys)
    for _ in range(2):
        assert await boards.read(board, source) == [b"2", b"1"]
        await client.delete(board.key)
    await boards.push(board, b"3")
    source.value = [b"3", b"2", b"1"]
    assert await boards.read(board, source) == [b"3", b"2", b"1"]
    assert source.asked == 3


async def test_large_boards_are_put_up_whole_and_expire(
    boards: Boards, keys: Keyspace, client: Client
) -> None:
    board = HashBoard(keys, f"{keys.prefix}:many:{{a}}", 60)

    async def load() -> Mapping[str, bytes]:
        return {f"S{number}": str(number).encode() for number in range(5_001)}

    await boards.read(board, load)
    found = await boards.read(board, load)
    assert len(found) == 5_001
    assert found["S4999"] == b"4999"
    assert 0 < await client.ttl(board.key) <= 60


async def test_new_items_come_first_and_the_oldest_leave(boards: Boards, keys: Keyspace) -> None:
    source = Source([b"2", b"1"])
    await boards.read(newest(keys), source)
    await boards.push(newest(keys), b"3", b"4")
    await boards.push(newest(keys), b"5", b"6", b"6", b"4")
    assert await boards.read(newest(keys), source) == [b"4", b"6", b"5", b"3", b"2"]
    assert await boards.read(newest(keys, wanted=2), source) == [b"4", b"6"]
    assert source.asked == 1


async def test_a_change_while_a_board_is_made_keeps_the_old_one_from_going_up(
    boards: Boards, keys: Keyspace
) -> None:
    source = Source([b"old"])
    making = asyncio.create_task(boards.read(newest(keys), source))
    while not source.asked:
        await asyncio.sleep(0.001)
    source.value = [b"new", b"old"]
    await boards.push(newest(keys), b"new")
    assert await making == [b"old"], "it was asked before the change"
    assert await boards.read(newest(keys), source) == [b"new", b"old"]
    assert boards.tally.refused == 1

    source.value = [b"third"]
    await boards.drop(newest(keys))
    assert await boards.read(newest(keys), source) == [b"third"]


async def test_a_lease_that_ran_out_puts_nothing_up(client: Client, keys: Keyspace) -> None:
    slow = Boards(client, upkeep=Upkeep(budget=2, lease=0.01))
    assert await slow.read(newest(keys), Source([b"1"])) == [b"1"]
    assert (slow.tally.made, slow.tally.refused) == (0, 1)
    assert await client.exists(newest(keys).key) == 0


async def test_a_reader_that_is_cancelled_or_fails_gives_its_lease_back(
    boards: Boards, keys: Keyspace, client: Client
) -> None:
    async def broken() -> Sequence[bytes]:
        raise RuntimeError("the database is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        await boards.read(newest(keys), broken)
    source = Source([b"1"])
    for pause in (0, 0.0005, 0.001, 0.002, 0.01):
        reading = asyncio.create_task(boards.read(newest(keys), source))
        await asyncio.sleep(pause)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await boards.aclose()
        assert await client.exists(f"{newest(keys).key}:lease") == 0
    assert await boards.read(newest(keys), source) == [b"1"]


async def test_who_waits_too_long_reads_postgresql(client: Client, keys: Keyspace) -> None:
    key = newest(keys).key
    await client.set(f"{key}:lease", "somebody else's", px=60_000)
    hasty = Boards(client, upkeep=Upkeep(budget=2, patience=0.1))
    assert await hasty.read(newest(keys), Source([b"1"])) == [b"1"]
    assert hasty.tally.direct == 1
    assert await client.get(f"{key}:lease") == b"somebody else's"


async def test_without_redis_or_with_one_that_fails_postgresql_answers(
    redis_server: EmbeddedValkey, keys: Keyspace
) -> None:
    source = Source([b"1"])
    assert await Boards(None).read(newest(keys), source) == [b"1"]
    await Boards(None).push(newest(keys), b"2")

    client = build_client(parse_redis_url(redis_server.url), Use.CACHE)
    boards = Boards(client)
    pid = redis_server.pid
    for sent in (signal.SIGSTOP, signal.SIGKILL):
        os.kill(pid, sent)
        assert await boards.read(newest(keys), source) == [b"1"]
        await boards.push(newest(keys), b"2")
        await boards.drop(newest(keys))
    assert boards.tally.direct == 2
    asked = source.asked
    for _ in range(20):
        assert await boards.read(newest(keys), source) == [b"1"]
    assert source.asked == asked + 20
    redis_server.start()
    await boards.aclose()
    patient = Boards(client, upkeep=EASY)
    for _ in range(2):
        assert await patient.read(newest(keys), source) == [b"1"]
    assert (patient.tally.made, patient.tally.hits) == (1, 1)
    await client.aclose()


@pytest.mark.parametrize("wanted", [0, -1, 6])
def test_more_than_a_list_keeps_cannot_be_asked(keys: Keyspace, wanted: int) -> None:
    with pytest.raises(InvalidData, match="limit must be 1 to 5"):
        newest(keys, wanted=wanted)
