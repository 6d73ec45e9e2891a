"""Column types that refuse what PostgreSQL would silently accept, and the checks that go with them.

A type guards values that come through SQLAlchemy; the CHECK of the same name guards ``COPY``,
psql and every other door.
"""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import NoneType
from typing import Any, ClassVar

from sqlalchemy import Column, DateTime, Dialect, Numeric, Text
from sqlalchemy.types import TypeDecorator

from domain.clock import as_utc
from domain.errors import InvalidData
from domain.money import checked


class ExactNumeric(TypeDecorator[Decimal]):
    """An unconstrained ``numeric`` in the range of `domain.money`.

    ``numeric(p, s)`` would round silently at every door; a CHECK refuses instead.
    """

    impl = Numeric
    cache_ok = True
    check_suffix: ClassVar[str] = "range"

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:
        """Refuse floats, NaN, infinities, more than 18 decimals and 10^20 and above."""
        del dialect
        return None if value is None else checked(value)

    def are_plain(self, values: Collection[Any]) -> bool:
        """Tell whether all of `values` are Decimals: COPY may send them, the CHECK judges them."""
        return {*map(type, values)} <= {Decimal, NoneType}

    def check_for(self, column: str) -> str:
        """Return the range condition; NaN compares greater than any number, so it fails too."""
        return f"abs({column}) < 100000000000000000000 AND min_scale({column}) <= 18"


class UtcDateTime(TypeDecorator[datetime]):
    """``timestamptz`` that accepts aware datetimes only.

    asyncpg reads a naive datetime in the host's zone: twelve o'clock would move by hours.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC or refuse."""
        del dialect
        return None if value is None else as_utc(value)

    def are_plain(self, values: Collection[Any]) -> bool:
        """Tell whether all of `values` are aware datetimes or None."""
        kinds = {*map(type, values)}
        if not kinds <= {datetime, NoneType}:
            return False
        return all(value is None or value.tzinfo is not None for value in values)


class _Members(dict[str | None, StrEnum | None]):
    """Members by stored word; NULL is no word."""

    def __init__(self, vocabulary: type[StrEnum]) -> None:
        super().__init__({member.value: member for member in vocabulary})
        self[None] = None
        self._name = vocabulary.__name__

    def __missing__(self, word: str | None) -> StrEnum:
        raise InvalidData(self._name, word, "be a word that this version knows")


class ClosedText(TypeDecorator[StrEnum]):
    """A closed vocabulary: text, a CHECK, and a StrEnum in Python.

    Native enums cannot lose a value, are invisible to autogenerate and leave types behind.
    """

    impl = Text
    cache_ok = True
    check_suffix: ClassVar[str] = "vocabulary"

    def __init__(self, vocabulary: type[StrEnum]) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self._members = _Members(vocabulary)

    def process_bind_param(self, value: StrEnum | str | None, dialect: Dialect) -> str | None:
        """Refuse a word outside the vocabulary."""
        del dialect
        if value is None:
            return None
        if value not in self._members:
            words = ", ".join(self.vocabulary)
            raise InvalidData(self.vocabulary.__name__, str(value), f"be one of {words}")
        return str(value)

    def coerced(self, target: object, value: Any, *_: object) -> Any:
        """Return the member for an assigned word: the ``set`` event of a model's attribute.

        Raises:
            InvalidData: The word is not of the vocabulary.
        """
        del target
        if not isinstance(value, str) or isinstance(value, self.vocabulary):
            return value
        if value not in self._members:
            words = ", ".join(self.vocabulary)
            raise InvalidData(self.vocabulary.__name__, value, f"be one of {words}")
        return self._members[value]

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Return the look-up itself: a function around it would cost a third of a stream."""
        del dialect, coltype
        return self._members.__getitem__

    def check_for(self, column: str) -> str:
        """Return the membership condition."""
        words = ", ".join(f"'{member.value}'" for member in self.vocabulary)
        return f"{column} IN ({words})"


class OpenText(TypeDecorator[str]):
    """An open vocabulary: lower-case words that users may extend, 1 to 64 characters."""

    impl = Text
    cache_ok = True
    check_suffix: ClassVar[str] = "word"

    def check_for(self, column: str) -> str:
        """Return the pattern condition."""
        return f"{column} ~ '^[a-z0-9][a-z0-9_.:-]{{0,63}}$'"


def checks_of(column: Column[Any]) -> tuple[str, str] | None:
    """Return (constraint name suffix, condition) when the column's type brings a CHECK."""
    kind = column.type
    if isinstance(kind, ExactNumeric | ClosedText | OpenText):
        return f"{column.name}_{kind.check_suffix}", kind.check_for(column.name)
    return None
