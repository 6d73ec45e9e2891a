"""Boards: lists, hashes, rankings and texts in Redis that are made from PostgreSQL when missing.

Whoever finds a board missing asks for its lease. The holder reads PostgreSQL and puts the board up
in one script, and only if the lease is still its own: a change in between deletes the lease, so an
old board never covers a newer fact. The others wait with jitter, or read PostgreSQL themselves
when that takes long. A lease is given back by its token, never by a bare DEL.

A board of nothing is a board too: ``{key}:made`` says that it is up and of how many items it was
made, because Redis keeps no empty list, hash or sorted set; so a board that was evicted is missing,
and not empty. Both expire at one instant. All keys of a board share a slot.
"""

import asyncio
import random
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from redis.exceptions import RedisError

from domain.cache.breaker import Breaker
from domain.cache.client import Client
from domain.cache.keys import Keyspace
from domain.errors import InvalidData

T = TypeVar("T")
Load = Callable[[], Awaitable[T]]

_KEYS: Final = "local board, made, lease = KEYS[1], KEYS[2], KEYS[3]\n"
_PUT_UP: Final = f"""{_KEYS}
if redis.call('GET', lease) ~= ARGV[1] then return 0 end
redis.call('DEL', lease, board)
local command, items = ARGV[3], tonumber(ARGV[4])
for first = 5, 4 + items, 1000 do
  redis.call(command, board, unpack(ARGV, first, math.min(first + 999, 4 + items)))
end
redis.call('PEXPIRE', board, ARGV[2])
redis.call('SET', made, items, 'PX', ARGV[2])
return 1"""
_RELEASE: Final = f"""{_KEYS}
if redis.call('GET', lease) == ARGV[1] then return redis.call('DEL', lease) end
return 0"""
_FETCH: Final = f"""{_KEYS}
local count = redis.call('GET', made)
if count and (count == '0' or redis.call('EXISTS', board) == 1) then
  return {{1, redis.call(ARGV[3], board, unpack(ARGV, 4))}}
end
if redis.call('SET', lease, ARGV[1], 'NX', 'PX', ARGV[2]) then return {{2}} end
return {{0}}"""
_PUSH: Final = f"""{_KEYS}
redis.call('DEL', lease)
local count = redis.call('GET', made)
if not count or (count ~= '0' and redis.call('EXISTS', board) == 0) then
  return redis.call('DEL', made)
end
for index = 3, #ARGV do
  redis.call('LREM', board, 0, ARGV[index])
  redis.call('LPUSH', board, ARGV[index])
end
redis.call('LTRIM', board, 0, ARGV[1] - 1)
redis.call('PEXPIRE', board, ARGV[2])
redis.call('SET', made, redis.call('LLEN', board), 'PX', ARGV[2])
return 1"""
_DROP: Final = f"{_KEYS}\nreturn redis.call('DEL', board, made, lease)"

_UP: Final = 1
_MINE: Final = 2


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How boards are kept; seconds.

    Args:
        budget: What one word with Redis may take before PostgreSQL is asked instead.
        lease: How long the one who makes a board may take.
        patience: How long the others wait for it before they read PostgreSQL themselves.
    """

    budget: float = 0.05
    lease: float = 10.0
    patience: float = 2.0


@dataclass(slots=True)
class BoardTally:
    """What became of reads.

    Args:
        hits: Answered by a board.
        made: Read from PostgreSQL and put up.
        refused: Read from PostgreSQL, not put up: something had changed, or it took too long.
        direct: Read from PostgreSQL because Redis or the holder of the lease was too slow.
    """

    hits: int = 0
    made: int = 0
    refused: int = 0
    direct: int = 0


class Boards:
    """Reads boards, makes them when they are missing.

    Args:
        client: A client for cache use; None: there is no Redis, every read is PostgreSQL's.
        upkeep: Budgets.
    """

    def __init__(self, client: "Client | None", *, upkeep: Upkeep | None = None) -> None:
        self._client = client
        self._upkeep = upkeep or Upkeep()
        self.tally = BoardTally()
        self._breaker = Breaker()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def aclose(self) -> None:
        """Wait for leases that are being given back."""
        await asyncio.gather(*self._tasks)

    async def read(self, board: "Board[T]", load: Load[T]) -> T:
        """Return what the board shows; made by `load` when it is missing.

        Redis that fails or is slow costs its budget and no error; what `load` raises is raised.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._upkeep.patience, 0.005
        lease = int(self._upkeep.lease * 1_000)
        while loop.time() < deadline:
            token = secrets.token_hex(12)
            try:
                answer = await self._ask(_FETCH, board, token, lease, *board.question)
                if answer is None:
                    self._give_back(board, token)
                    break
                if answer[0] == _UP:
                    self.tally.hits += 1
                    return board.decode(answer[1])
                if answer[0] == _MINE:
                    return await self._make(board, load, token)
            except BaseException:
                self._give_back(board, token)
                raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(pause * 2, 0.05)
        self.tally.direct += 1
        return await load()

    async def push(self, board: "ListBoard", *items: bytes) -> None:
        """Put new items in front of a list that is up; of one that is being made, stop the making.

        Call it after the commit. Items come out in the reverse order: the last one is the newest.
        """
        if items:
            milliseconds = board.seconds * 1_000
            await self._ask(_PUSH, board, board.most, milliseconds, *items)

    async def drop(self, board: "Board[Any]") -> None:
        """Take a board down, because what it shows changed; call it after the commit."""
        await self._ask(_DROP, board)

    async def _make(self, board: "Board[T]", load: Load[T], token: str) -> T:
        value = await load()
        items = board.encode(value)
        milliseconds = board.seconds * 1_000
        is_up = await self._ask(
            _PUT_UP, board, token, milliseconds, board.command, len(items), *items
        )
        self.tally.made += bool(is_up)
        self.tally.refused += not is_up
        return value

    def _give_back(self, board: "Board[Any]", token: str) -> None:
        # In a task of its own: a second cancellation must not leave the lease to its end, and
        # who was not answered in time may hold it all the same.
        if self._client is None:
            return
        task = asyncio.create_task(self._ask(_RELEASE, board, token), name="lease")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, script: str, board: "Board[Any]", *arguments: Any) -> Any:
        """Run a script on a board's keys; None when there is no answer in time."""
        if self._client is None or not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(self._upkeep.budget):
                answer = await self._client.eval(script, 3, *board.keys, *arguments)
        except (RedisError, OSError):
            self._breaker.failed()
            return None
        self._breaker.succeeded()
        return answer


class Board(ABC, Generic[T]):
    """One board: its keys, its life, and how it is read and written.

    Args:
        keyspace: Names the keys beside it.
        key: The board's key.
        seconds: How long it stays up.
    """

    command: str

    def __init__(self, keyspace: Keyspace, key: str, seconds: int) -> None:
        self.key, self.seconds = key, seconds
        self.keys = (key, keyspace.beside(key, "made"), keyspace.beside(key, "lease"))

    @property
    @abstractmethod
    def question(self) -> Sequence[Any]:
        """The command that reads it, with its arguments after the key."""

    @abstractmethod
    def decode(self, answer: Any) -> T:
        """Return what Redis' answer says."""

    @abstractmethod
    def encode(self, value: T) -> Sequence[Any]:
        """Return the arguments of `command` that write it."""


class TextBoard(Board[bytes]):
    """One JSON text."""

    command = "SET"

    @property
    def question(self) -> Sequence[Any]:
        """GET."""
        return ("GET",)

    def decode(self, answer: Any) -> bytes:
        """Return the text."""
        return bytes(answer)

    def encode(self, value: bytes) -> Sequence[Any]:
        """Return the text."""
        return (value,)


class ListBoard(Board[Sequence[bytes]]):
    """The newest items of something, newest first.

    Args:
        keyspace: Names the keys beside it.
        key: The board's key.
        seconds: How long it stays up after the last push.
        most: Items it keeps.
        wanted: Items to read; default: all.
    """

    command = "RPUSH"

    def __init__(
        self, keyspace: Keyspace, key: str, seconds: int, *, most: int, wanted: int | None = None
    ) -> None:
        super().__init__(keyspace, key, seconds)
        if wanted is not None and not 1 <= wanted <= most:
            raise InvalidData("limit", wanted, f"be 1 to {most}")
        self.most, self.wanted = most, wanted or most

    @property
    def question(self) -> Sequence[Any]:
        """LRANGE."""
        return ("LRANGE", 0, self.wanted - 1)

    def decode(self, answer: Any) -> Sequence[bytes]:
        """Return the items."""
        return list(answer)

    def encode(self, value: Sequence[bytes]) -> Sequence[Any]:
        """Return the items, no more than are kept."""
        return list(value[: self.most])


class HashBoard(Board[Mapping[str, bytes]]):
    """Something by name, say positions by symbol."""

    command = "HSET"

    @property
    def question(self) -> Sequence[Any]:
        """HGETALL."""
        return ("HGETALL",)

    def decode(self, answer: Any) -> Mapping[str, bytes]:
        """Return values by name, in the order of names."""
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return dict(sorted((name.decode(), value) for name, value in pairs))

    def encode(self, value: Mapping[str, bytes]) -> Sequence[Any]:
        """Return names and values in turn."""
        return [word for pair in value.items() for word in pair]


class RankBoard(Board[Sequence[tuple[str, float]]]):
    """Members by score, the highest first. A score is a float: it orders, it is no figure.

    Args:
        keyspace: Names the keys beside it.
        key: The board's key.
        seconds: How long it stays up.
        wanted: Members to read; 0: all.
    """

    command = "ZADD"

    def __init__(self, keyspace: Keyspace, key: str, seconds: int, *, wanted: int = 0) -> None:
        super().__init__(keyspace, key, seconds)
        self.wanted = wanted

    @property
    def question(self) -> Sequence[Any]:
        """ZREVRANGE with scores."""
        return ("ZREVRANGE", 0, self.wanted - 1, "WITHSCORES")

    def decode(self, answer: Any) -> Sequence[tuple[str, float]]:
        """Return members and scores."""
        return [
            (member.decode(), float(score))
            for member, score in zip(answer[::2], answer[1::2], strict=True)
        ]

    def encode(self, value: Sequence[tuple[str, float]]) -> Sequence[Any]:
        """Return scores and members in turn."""
        return [word for member, score in value for word in (repr(score), member)]
