"""Form fields: each writes a stored value as text and reads it back without any loss.

Only a field whose submitted text differs from the text it was rendered with is written, so that
opening a form and saving it changes nothing.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Final
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Column, Date, Integer, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from admin.days import day_of
from admin.translating import gettext, label, spaced
from domain.clock import as_utc
from domain.db.exact_json import parsed, written
from domain.db.types import ClosedText, ExactNumeric, UtcDateTime
from domain.errors import InvalidData
from domain.money import parse, plain


@dataclass(frozen=True, slots=True)
class Field:
    """One editable column.

    Args:
        name: The attribute.
        label: What people read, in English: pages translate it.
        help: The column's comment: unit and meaning, in English.
        is_required: An empty text is refused.
        choices: (value, label) pairs of a closed vocabulary, labels in English.
        target: Identity of the view whose records a foreign key points to.
    """

    name: str
    label: str
    help: str = ""
    is_required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    target: str = ""

    widget: ClassVar[str] = "text"

    def write(self, value: Any) -> str:
        """Return the text that stands for `value`; empty for NULL."""
        return "" if value is None else str(value)

    def read(self, text: str) -> Any:
        """Return the value that `text` stands for.

        Raises:
            InvalidData: It stands for none.
        """
        return text

    def value_of(self, text: str) -> Any:
        """Return the value of a submitted text; empty is NULL.

        Raises:
            InvalidData: Empty although required, or not readable.
        """
        if "\x00" in text:
            raise InvalidData(self.name, text, "hold no NUL character")
        if text.strip():
            return self.read(text)
        if self.is_required:
            raise InvalidData(self.name, text, "be filled in")
        return None


class TextField(Field):
    """Text as it is."""

    __slots__ = ()


class LongTextField(Field):
    """Text of several lines. Browsers send CRLF: it is read as the line feed that was stored."""

    __slots__ = ()
    widget = "area"

    def read(self, text: str) -> str:
        """Return the text with single line feeds."""
        return text.replace("\r\n", "\n")


class DecimalField(Field):
    """An exact number, all its digits, no exponent."""

    __slots__ = ()
    widget = "number"

    def write(self, value: Decimal | None) -> str:
        """Return the canonical digits."""
        return "" if value is None else plain(value)

    def read(self, text: str) -> Decimal:
        """Return the number; commas between thousands are accepted."""
        return parse(text, self.name, grouping=True)


class IntegerField(Field):
    """A whole number."""

    __slots__ = ()
    widget = "number"

    def read(self, text: str) -> int:
        """Return the number."""
        value = parse(text, self.name)
        if value != value.to_integral_value() or abs(value) >= 2**63:
            raise InvalidData(self.name, text, "be a whole number")
        return int(value)


class BooleanField(Field):
    """Yes or no."""

    __slots__ = ()
    widget = "choice"

    def write(self, value: bool | None) -> str:  # noqa: FBT001 - the value itself
        """Return yes or no."""
        return "" if value is None else "yes" if value else "no"

    def read(self, text: str) -> bool:
        """Return the truth."""
        if text not in {"yes", "no"}:
            raise InvalidData(self.name, text, "be yes or no")
        return text == "yes"


class InstantField(Field):
    """An instant with microseconds, in UTC."""

    __slots__ = ()
    widget = "instant"

    def write(self, value: datetime | None) -> str:
        """Return ISO 8601 with all its microseconds."""
        return "" if value is None else value.astimezone(UTC).isoformat(sep=" ")

    def read(self, text: str) -> datetime:
        """Return the instant; a text without offset is refused."""
        try:
            return as_utc(datetime.fromisoformat(text.strip()), self.name)
        except InvalidData:
            raise
        except (ValueError, OverflowError):
            rule = "be a time such as 2026-01-31 15:30:00+00:00"
            raise InvalidData(self.name, text, rule) from None


class DayField(Field):
    """A calendar day."""

    __slots__ = ()
    widget = "day"

    def read(self, text: str) -> date:
        """Return the day."""
        return day_of(self.name, text)


class ChoiceField(Field):
    """A word of a closed vocabulary."""

    __slots__ = ()
    widget = "choice"

    def read(self, text: str) -> str:
        """Return the word."""
        if text not in {value for value, _ in self.choices}:
            raise InvalidData(self.name, text, "be one of the choices")
        return text


class ReferenceField(Field):
    """The key of another record, found by typing its name."""

    __slots__ = ()
    widget = "reference"

    def read(self, text: str) -> UUID:
        """Return the key."""
        try:
            return UUID(text.strip())
        except ValueError:
            raise InvalidData(self.name, text, "be a record from the list") from None


class CodeReferenceField(Field):
    """The textual key of another record, such as a currency's code."""

    __slots__ = ()
    widget = "reference"


class JsonField(Field):
    """JSON or an array, as JSON text."""

    __slots__ = ()
    widget = "code"

    def write(self, value: Any) -> str:
        """Return indented JSON."""
        return "" if value is None else written(value, indent=2)

    def read(self, text: str) -> Any:
        """Return the structure; NaN and Infinity are not JSON."""
        try:
            return parsed(text)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise InvalidData(self.name, text, f"be valid JSON ({error.msg}, {place})") from None
        except (ValueError, RecursionError):
            raise InvalidData(self.name, text, "be valid JSON") from None


class ListField(JsonField):
    """An array of words, as JSON text."""

    __slots__ = ()

    def read(self, text: str) -> list[str]:
        """Return the words."""
        value = JsonField.read(self, text)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidData(self.name, text, 'be a JSON list of words: ["one", "two"]')
        return value


_KINDS: Final[tuple[tuple[type[Any], type[Field]], ...]] = (
    (ExactNumeric, DecimalField),
    (UtcDateTime, InstantField),
    (ClosedText, ChoiceField),
    (JSONB, JsonField),
    (ARRAY, ListField),
    (Boolean, BooleanField),
    (Integer, IntegerField),
    (Date, DayField),
    (Uuid, ReferenceField),
)


@cache
def field_for(column: Column[Any], *, target: str = "") -> Field:
    """Return the field that edits `column`; pages have dozens, and they do not change.

    Args:
        column: A plain column.
        target: Identity of the view that a foreign key leads to.
    """
    options: dict[str, Any] = {
        "name": column.key,
        "label": named(column.key),
        "help": described(column),
        "is_required": not column.nullable and column.server_default is None,
        "target": target,
        "choices": _choices(column),
    }
    if target:
        kind = ReferenceField if isinstance(column.type, Uuid) else CodeReferenceField
        return kind(**options)
    for type_, field in _KINDS:
        if isinstance(column.type, type_):
            return field(**options)
    is_long = column.key in LONG_TEXTS
    return LongTextField(**options) if is_long else TextField(**options)


def described(column: Column[Any]) -> str:
    """Return what a column means, in English: no code, and people leave fields empty."""
    return (column.comment or "").replace("`", "").replace("NULL", "empty")


def help_of(column: Column[Any]) -> str:
    """Return what a column means, in the language of the request."""
    return gettext(described(column))


LONG_TEXTS: Final = frozenset(
    {
        "content",
        "description",
        "lessons",
        "message",
        "message_template",
        "note",
        "notes",
        "rules",
        "thesis",
    }
)
"""Texts that people write in several lines."""

_LABELS: Final = {
    "display_name": "Name",
    "entry_on": "Day",
    "event_id": "Event ID",
    "ex_on": "Ex-date",
    "external_id": "External ID",
    "key_id": "Key ID",
    "lose_dollars": "Lost",
    "num_losses": "Losses",
    "num_trades": "Trades",
    "num_wins": "Wins",
    "observed_value": "Observed",
    "params": "Parameters",
    "on": "Day",
    "r_multiple": "R multiple",
    "return_pct": "Return",
    "timezone": "Time zone",
    "win_dollars": "Won",
}
_SPELLING: Final = {
    "pnl": "P&L",
    "fx": "FX",
    "ip": "IP",
    "isin": "ISIN",
    "cusip": "CUSIP",
    "figi": "FIGI",
    "vwap": "VWAP",
    "osi": "OSI",
    "mae": "MAE",
    "mfe": "MFE",
    "rr": "reward for 1 R",
    "json": "JSON",
    "id": "ID",
    "sha256": "SHA-256",
    "eod": "end-of-day",
    "iv": "IV",
    "pct": "percent",
    "url": "URL",
}


def _choices(column: Column[Any]) -> tuple[tuple[str, str], ...]:
    if isinstance(column.type, Boolean):
        return (("yes", "yes"), ("no", "no"))
    if isinstance(column.type, ClosedText):
        members: type[StrEnum] = column.type.vocabulary
        return tuple((member.value, spaced(member.value)) for member in members)
    return ()


def label_of(name: str) -> str:
    """Return ``executed_at`` as ``Ausgeführt am`` where the request is German."""
    return label(named(name))


def named(name: str) -> str:
    """Return ``executed_at`` as ``Executed at``; keys lose their suffix, questions their verb."""
    if name in _LABELS:
        return _LABELS[name]
    bare = name.removesuffix("_id").removeprefix("is_")
    text = " ".join(_SPELLING.get(part, part) for part in bare.split("_"))
    return text[:1].upper() + text[1:]
