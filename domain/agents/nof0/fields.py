"""One JSON object of a file, read field by field; every error names file, field, value and rule.

Pure. What a field means is said in `domain.agents.nof0.reading`.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from domain.agents.nof0.times import instant_of
from domain.errors import InvalidData
from domain.money import checked, plain

_LONGEST: Final = 90


class Fields:
    """The fields of one object.

    Args:
        value: What stands in the file; must be an object.
        where: File and path to it: ``trades.json:`` or ``trades.json: trades[3]``.

    Raises:
        InvalidData: It is no object.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise InvalidData(where, value, "be an object")
        self.values: Mapping[str, Any] = value
        self.where = where

    def has(self, name: str) -> bool:
        """Return whether the field is there and not null."""
        return self.values.get(name) is not None

    def one_of(self, *names: str) -> str:
        """Return the first of `names` that is there; the first of all when none is."""
        return next((name for name in names if self.has(name)), names[0])

    def path(self, name: str) -> str:
        """Return file and path of a field."""
        return f"{self.where}{' ' if self.where.endswith(':') else '.'}{name}"

    def refuse(self, name: str, rule: str) -> InvalidData:
        """Return the error for a field."""
        return InvalidData(self.path(name), self.values.get(name), rule)

    def text(self, name: str) -> str:
        """Return a text of 1 to 90 characters."""
        value = self.values.get(name)
        if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST or "\x00" in value:
            raise self.refuse(name, f"be text of 1 to {_LONGEST} characters")
        return value

    def number(self, name: str) -> Decimal:
        """Return a number in the range that is stored."""
        found = self.optional(name)
        if found is None:
            raise self.refuse(name, "be a number")
        return found

    def optional(self, name: str) -> Decimal | None:
        """Return a number, or None where the field is absent or null."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.refuse(name, "be a number")
        return checked(Decimal(value), self.path(name))

    def positive(self, name: str) -> Decimal:
        """Return a number above zero."""
        found = self.number(name)
        if found <= 0:
            raise self.refuse(name, "be positive")
        return found

    def share(self, name: str) -> Decimal | None:
        """Return a number from 0 to 1, or None."""
        found = self.optional(name)
        if found is not None and not 0 <= found <= 1:
            raise self.refuse(name, "lie between 0 and 1")
        return found

    def time(self, *names: str) -> datetime:
        """Return an instant from the first of these fields that is there."""
        name = self.one_of(*names)
        return instant_of(self.values.get(name), self.path(name))

    def name_of(self, name: str) -> str | None:
        """Return an id that may be a number or a text, or None."""
        value = self.values.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return None if value is None else str(value)
        return self.text(name)

    def items(self, name: str) -> Iterator["Fields"]:
        """Yield the objects of a list."""
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self.refuse(name, "be a list")
        for index, item in enumerate(value):
            yield Fields(item, f"{self.path(name)}[{index}]")

    def members(self, name: str) -> Iterator[tuple[str, "Fields"]]:
        """Yield (symbol, object) of an object of objects by symbol."""
        value = Fields(self.values.get(name), self.path(name))
        for key, item in value.values.items():
            where = value.path(key)
            # The key is the name; nof0 repeats it inside.
            yield key, Fields({"symbol": key, **Fields(item, where).values}, where)

    def raw(self) -> dict[str, object]:
        """Return the object with decimals as text, which every JSON column keeps exactly."""
        return {name: _plain(value) for name, value in self.values.items()}


def _plain(value: Any) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
