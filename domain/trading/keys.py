"""Position keys: what makes two trades belong to one position."""

from typing import Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm.util import AliasedClass

from domain.errors import InvalidData
from domain.trading.models import Position, Trade

_PART_LENGTH: Final = 100


class BookKey(NamedTuple):
    """One position key: portfolio, instrument, optional strategy, optional hedging reference."""

    portfolio_id: UUID
    instrument_id: UUID
    strategy: str | None = None
    position_ref: str | None = None

    @classmethod
    def of(cls, row: Trade | Position) -> Self:
        """Return the key that a trade or position belongs to."""
        return cls(row.portfolio_id, row.instrument_id, row.strategy, row.position_ref)

    @property
    def book(self) -> str:
        """The key as one text, for the ledger and for the advisory lock."""
        parts = (self.portfolio_id, self.instrument_id, self.strategy, self.position_ref)
        return "|".join("" if part is None else str(part) for part in parts)

    def matches(
        self, model: type[Trade] | type[Position] | AliasedClass[Trade]
    ) -> ColumnElement[bool]:
        """Return the condition for the rows of this key in `Trade`, `Position` or an alias."""
        return and_(
            model.portfolio_id == self.portfolio_id,
            model.instrument_id == self.instrument_id,
            model.strategy.is_not_distinct_from(self.strategy),
            model.position_ref.is_not_distinct_from(self.position_ref),
        )


def checked_part(field: str, value: str | None) -> str | None:
    """Return a strategy or position reference that can be part of a key.

    Raises:
        InvalidData: Empty, longer than 100 characters, or with the separator ``|``.
    """
    if value is None:
        return None
    if not 1 <= len(value) <= _PART_LENGTH or "|" in value or "\x00" in value:
        raise InvalidData(field, value, "be 1 to 100 characters without | or NUL")
    return value
