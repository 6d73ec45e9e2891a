"""The keyspace: every key, channel and stream that Tradekeep has in Redis, typed in one place.

It is a contract for clients in other languages (docs/pages/redis.md). What stands in braces is a
hash tag: keys of one thing live in one slot of a cluster, so that a script may touch them together.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Final, TypeAlias
from urllib.parse import quote
from uuid import UUID

from domain.clock import as_utc
from domain.errors import InvalidData

Part: TypeAlias = "UUID | str | int | bytes | date | datetime | Enum | None"

_PREFIX: Final = re.compile(r"[a-z0-9_.-]{1,40}")
_LONGEST_PART: Final = 200
_NOTHING: Final = "~"
_PLAIN: Final = "/@+=,!$'()*"
"""What stays as it is inside a part, besides letters, digits and ``_.-``."""


def written(part: Part) -> str:
    """Return a part of a key as text: no space, brace, colon or other separator is left in it.

    Raises:
        InvalidData: The text is empty or longer than 200 characters.

    Example:
        >>> written("BRK B"), written(None)
        ('BRK%20B', '~')
    """
    if part is None:
        return _NOTHING
    if isinstance(part, Enum):
        part = part.value
    if isinstance(part, bytes):
        part = part.hex()
    if isinstance(part, datetime):
        part = as_utc(part).strftime("%Y%m%dT%H%M%S.%fZ")
    text = str(part)
    if not 1 <= len(text) <= _LONGEST_PART:
        raise InvalidData("key", text[:_LONGEST_PART], "have parts of 1 to 200 characters")
    return quote(text, safe=_PLAIN)


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The keys below one prefix.

    Args:
        prefix: What all of them begin with: 1 to 40 of ``a-z 0-9 _ . -``.

    Raises:
        InvalidData: Another prefix.

    Example:
        >>> Keyspace("tradekeep").entry("hot", "quote", ["AAPL"])
        'tradekeep:hot:quote:{AAPL}'
    """

    prefix: str = "tradekeep"

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidData("prefix", self.prefix, "be 1 to 40 of a-z 0-9 _ . -")

    # The cache

    def entry(self, tier: str, name: str, parts: Sequence[Part]) -> str:
        """Return the key of a cached answer: ``{prefix}:{tier}:{name}:{{part:part}}``."""
        tag = ":".join(written(part) for part in parts) or _NOTHING
        return f"{self.prefix}:{tier}:{name}:{{{tag}}}"

    def tag(self, name: str, value: Part = None) -> str:
        """Return the key of a tag: what many cached answers depend on together."""
        return f"{self.prefix}:tag:{{{name}:{written(value)}}}"

    def statistics(self) -> str:
        """Return the key of what all processes counted (hash)."""
        return f"{self.prefix}:statistics"

    def limits(self) -> str:
        """Return what the windows begin with in which attempts to log in are counted."""
        return f"{self.prefix}:limits"

    # Live data: bare JSON, prices as strings

    def latest_price(self, symbol: str) -> str:
        """Return the key of a symbol's newest quote (JSON); nof0's ``price:latest:{sym}``."""
        return f"{self.prefix}:price:latest:{{{written(symbol)}}}"

    def quotes(self, symbol: str) -> str:
        """Return the channel of a symbol's quotes; TTAI's ``quotes:{symbol}``."""
        return f"{self.prefix}:quotes:{{{written(symbol)}}}"

    def is_quotes(self, channel: str) -> bool:
        """Return whether this is a channel of quotes, of which only the newest counts."""
        return channel.startswith(f"{self.prefix}:quotes:")

    def events(self, topic: str, user_id: UUID | None = None) -> str:
        """Return the channel of what happens: to one tenant, or to all when there is none."""
        return f"{self.prefix}:events:{{{written(user_id)}}}:{written(topic)}"

    def staff_events(self, topic: str) -> str:
        """Return the channel of what happens to any tenant; for staff only."""
        return f"{self.prefix}:staff:{{{written(topic)}}}"

    def stream(self, topic: str) -> str:
        """Return the key of the stream of a topic."""
        return f"{self.prefix}:stream:{{{written(topic)}}}"

    def dead_letters(self, topic: str) -> str:
        """Return the key of the stream of what could not be handled, beside its stream."""
        return f"{self.stream(topic)}:dead"

    def recent_trades(self, agent_id: UUID) -> str:
        """Return the key of an agent's newest trades (list of JSON); ``trades:recent:{model}``."""
        return f"{self.prefix}:trades:recent:{{{agent_id}}}"

    def positions(self, agent_id: UUID) -> str:
        """Return the key of an agent's positions (hash, symbol to JSON); ``positions:{model}``."""
        return f"{self.prefix}:positions:{{{agent_id}}}"

    def leaderboard(self) -> str:
        """Return the key of the agents' ranking (sorted set); ``leaderboard``."""
        return f"{self.prefix}:{{leaderboard}}"

    def leaderboard_top(self) -> str:
        """Return the key of the first places with exact figures (JSON)."""
        return f"{self.prefix}:{{leaderboard}}:top"

    def since_inception(self, agent_id: UUID) -> str:
        """Return the key of an agent's equity series (JSON); ``since_inception:{model}``."""
        return f"{self.prefix}:since_inception:{{{agent_id}}}"

    def conversation(self, conversation_id: UUID) -> str:
        """Return the key of a conversation's newest messages (list of JSON)."""
        return f"{self.prefix}:conversation:{{{conversation_id}}}"

    def beside(self, key: str, suffix: str) -> str:
        """Return a key in the slot of `key`, for its lease or an unfinished rebuild."""
        return f"{key}:{suffix}"
