"""Typed conditions on columns, joined by "and" and "or", as text in an address and as SQL.

The text is made for people: ``1:side.is.buy,or(price.gt.100,fees.empty)``. It begins with the
version of its grammar; conditions are separated by commas, which mean "and"; a value that holds
one of ``, ( ) | "`` stands in double quotes; several values are separated by ``|``.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    LargeBinary,
    Text,
    and_,
    cast,
    func,
    or_,
    true,
)

from admin.days import instants_of
from admin.fields import (
    BooleanField,
    ChoiceField,
    CodeReferenceField,
    DayField,
    DecimalField,
    Field,
    InstantField,
    IntegerField,
    JsonField,
    ReferenceField,
)
from admin.records import RecordView
from admin.translating import marked
from domain.errors import InvalidData

VERSION: Final = "1"
PARAMETER: Final = "where"
_MOST_CONDITIONS: Final = 50
_DEEPEST: Final = 5
_LONGEST: Final = 4_000
_MOST_VALUES: Final = 100

_NAME: Final = re.compile(r"([a-z][a-z0-9_]*)\.([a-z]+)")
_GROUP: Final = re.compile(r"(and|or)\(")
_BARE: Final = re.compile(r'[^,()|"]*')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NEEDS_QUOTES: Final = re.compile(r'[,()|"]')
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Operator:
    """A way to compare.

    Args:
        word: How it stands in the address.
        label: How people read it.
        kinds: Kinds of columns it compares.
        least: Fewest values it takes.
        most: Most values it takes.
    """

    word: str
    label: str
    kinds: frozenset[str]
    least: int = 1
    most: int = 1


_ORDERED: Final = frozenset({"number", "instant", "day"})
_EQUAL: Final = frozenset({"text", "choice", "reference"}) | _ORDERED
_ALL: Final = _EQUAL | {"boolean", "structure"}

OPERATORS: Final = {
    item.word: item
    for item in (
        Operator("is", marked("is"), _EQUAL | {"boolean"}),
        Operator("not", marked("is not"), _EQUAL),
        Operator("any", marked("is any of"), _EQUAL - _ORDERED | {"number"}, 1, _MOST_VALUES),
        Operator("begins", marked("begins with"), frozenset({"text"})),
        Operator("contains", marked("contains"), frozenset({"text"})),
        Operator("lt", marked("less than, before"), _ORDERED),
        Operator("gt", marked("more than, after"), _ORDERED),
        Operator("from", marked("at least, from"), _ORDERED),
        Operator("to", marked("at most, until"), _ORDERED),
        Operator("between", marked("between (both included)"), _ORDERED, 2, 2),
        Operator("empty", marked("is empty"), _ALL, 0, 0),
        Operator("filled", marked("is not empty"), _ALL, 0, 0),
    )
}
"""Every operator, by its word."""

_KINDS: Final[tuple[tuple[type[Field], str], ...]] = (
    (ChoiceField, "choice"),
    (BooleanField, "boolean"),
    (DecimalField, "number"),
    (IntegerField, "number"),
    (InstantField, "instant"),
    (DayField, "day"),
    (ReferenceField, "reference"),
    (CodeReferenceField, "reference"),
    (JsonField, "structure"),
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison, its values still as text.

    Args:
        name: The attribute.
        operator: A word of `OPERATORS`.
        values: What is compared with.
    """

    name: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions that are joined by one word.

    Args:
        word: ``and`` or ``or``.
        parts: Conditions and groups.
    """

    word: str = "and"
    parts: tuple["Condition | Group", ...] = ()


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def written(group: Group) -> str:
    """Return `group` as it stands in an address; empty when it has no condition."""
    if not group.parts:
        return ""
    inner = ",".join(_written(part) for part in group.parts)
    return f"{VERSION}:{inner if group.word == 'and' else f'or({inner})'}"


def _written(part: Condition | Group) -> str:
    if isinstance(part, Group):
        return f"{part.word}({','.join(_written(inner) for inner in part.parts)})"
    head = f"{part.name}.{part.operator}"
    return f"{head}.{'|'.join(_quoted(value) for value in part.values)}" if part.values else head


def _quoted(value: str) -> str:
    if not _NEEDS_QUOTES.search(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read(text: str) -> Group:
    """Return the group that `text` stands for; columns and values are judged later.

    Raises:
        InvalidData: It is of another version, or not of this grammar.
    """
    if not text:
        return Group()
    if len(text) > _LONGEST:
        raise InvalidData(PARAMETER, text, f"have at most {_LONGEST:,} characters")
    version, _, body = text.partition(":")
    if version != VERSION:
        raise InvalidData(PARAMETER, text, f"begin with {VERSION}:, the version of its grammar")
    reader = _Reader(body)
    parts = reader.parts(depth=1)
    reader.require_end()
    if len(parts) == 1 and isinstance(parts[0], Group):
        return parts[0]
    return Group("and", tuple(parts))


class _Reader:
    """Reads conditions from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.left = _MOST_CONDITIONS

    def parts(self, depth: int) -> list[Condition | Group]:
        found = [self._part(depth)]
        while self._skip(","):
            found.append(self._part(depth))
        return found

    def require_end(self) -> None:
        if self.at < len(self.text):
            raise self._wrong("end after its last condition")

    def _part(self, depth: int) -> Condition | Group:
        group = _GROUP.match(self.text, self.at)
        if group is None:
            return self._condition()
        if depth >= _DEEPEST:
            raise self._wrong(f"nest at most {_DEEPEST} groups")
        self.at = group.end()
        parts = self.parts(depth + 1)
        if not self._skip(")"):
            raise self._wrong("close each group with )")
        return Group(group[1], tuple(parts))

    def _condition(self) -> Condition:
        head = _NAME.match(self.text, self.at)
        if head is None:
            raise self._wrong("hold conditions such as side.is.buy")
        self.left -= 1
        if self.left < 0:
            raise self._wrong(f"have at most {_MOST_CONDITIONS} conditions")
        self.at = head.end()
        return Condition(head[1], head[2], tuple(self._values()) if self._skip(".") else ())

    def _values(self) -> list[str]:
        found = [self._value()]
        while self._skip("|"):
            found.append(self._value())
        return found

    def _value(self) -> str:
        if quoted := _QUOTED.match(self.text, self.at):
            self.at = quoted.end()
            return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
        bare = _BARE.match(self.text, self.at)
        assert bare is not None  # noqa: S101 - it matches the empty text too
        self.at = bare.end()
        return bare[0]

    def _skip(self, mark: str) -> bool:
        found = self.text.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def _wrong(self, rule: str) -> InvalidData:
        return InvalidData(PARAMETER, self.text[self.at :], rule)


# ── meaning ──────────────────────────────────────────────────────────────────────────────────────


def kind_of(view: RecordView, field: Field) -> str:
    """Return the kind of a column: it decides which operators there are."""
    if isinstance(view.mapper.column_attrs[field.name].columns[0].type, LargeBinary):
        return "structure"
    return next((kind for type_, kind in _KINDS if isinstance(field, type_)), "text")


def meaning(view: RecordView, group: Group, zone: str) -> ColumnElement[bool]:
    """Return `group` as SQL, every value a bound parameter.

    Args:
        view: The table.
        group: The conditions.
        zone: The reader's time zone, in which days begin.

    Raises:
        InvalidData: A column, an operator or a value is none.
    """
    parts = [
        meaning(view, part, zone) if isinstance(part, Group) else _meaning(view, part, zone)
        for part in group.parts
    ]
    return (or_ if group.word == "or" else and_)(*parts) if parts else true()


def names_in(group: Group) -> set[str]:
    """Return every attribute that `group` compares."""
    found: set[str] = set()
    for part in group.parts:
        found |= names_in(part) if isinstance(part, Group) else {part.name}
    return found


def _meaning(view: RecordView, condition: Condition, zone: str) -> ColumnElement[bool]:
    if condition.name not in view.visible():
        raise InvalidData(PARAMETER, condition.name, f"name a column of {view.name_plural}")
    (field,) = view.fields([condition.name])
    kind = kind_of(view, field)
    operator = OPERATORS.get(condition.operator)
    if operator is None or kind not in operator.kinds:
        known = ", ".join(word for word, item in OPERATORS.items() if kind in item.kinds)
        raise InvalidData(condition.name, condition.operator, f"be compared by one of {known}")
    if not operator.least <= len(condition.values) <= operator.most:
        raise InvalidData(condition.name, "|".join(condition.values), _arity(operator))
    column = getattr(view.model, condition.name)
    if operator.most == 0:
        is_empty = _empty(column, kind)
        return is_empty if operator.word == "empty" else ~is_empty
    if kind in _ORDERED:
        spans = [_span(view, field, value, zone) for value in condition.values]
        compared: ColumnElement[bool] = _COMPARED[operator.word](column, *spans)
        return compared
    return _equal(column, operator.word, [_value(field, value) for value in condition.values])


def _arity(operator: Operator) -> str:
    if operator.most == 0:
        return f"have no value after {operator.word}"
    if operator.least == operator.most:
        return f"have {operator.least} value{'s' if operator.least > 1 else ''}"
    return f"have {operator.least} to {operator.most} values"


def _value(field: Field, text: str) -> Any:
    if "\x00" in text or not text:
        raise InvalidData(field.name, text, "be a text without NUL that is not empty")
    return field.read(text)


def _equal(column: Any, word: str, values: Sequence[Any]) -> ColumnElement[bool]:
    if word == "any":
        found: ColumnElement[bool] = column.in_(values)
    elif word == "begins":
        found = column.startswith(values[0], autoescape=True)
    elif word == "contains":
        found = column.icontains(values[0], autoescape=True)
    elif word == "not":
        found = column.is_distinct_from(values[0])
    else:
        found = column == values[0]
    return found


def _empty(column: Any, kind: str) -> ColumnElement[bool]:
    """Return the condition for what pages show as a dash."""
    missing: ColumnElement[bool] = column.is_(None)
    if kind == "text":
        return or_(missing, column == "")
    if kind == "structure" and isinstance(column.type, ARRAY):
        return or_(missing, func.cardinality(column) == 0)
    if kind == "structure" and not isinstance(column.type, LargeBinary):
        return or_(missing, cast(column, Text).in_(("{}", "[]", "null")))
    return missing


@dataclass(frozen=True, slots=True)
class Span:
    """A value on a line, or everything from `start` up to `end`.

    Args:
        start: The first value.
        end: The first value behind it; None for the one value itself.
    """

    start: Any
    end: Any = None


def _span(view: RecordView, field: Field, text: str, zone: str) -> Span:
    value = text.strip()
    if isinstance(field, InstantField) and _DAY.fullmatch(value):
        return Span(*instants_of(field.name, value, zone))
    read = _value(field, value)
    type_ = view.mapper.column_attrs[field.name].columns[0].type
    is_small = isinstance(type_, Integer) and not isinstance(type_, BigInteger)
    if is_small and abs(read) >= 2**31:
        raise InvalidData(field.name, text, "be a smaller number")
    return Span(read)


def _is(column: Any, at: Span) -> Any:
    return column == at.start if at.end is None else and_(column >= at.start, column < at.end)


def _is_not(column: Any, at: Span) -> Any:
    if at.end is None:
        return column.is_distinct_from(at.start)
    return or_(column.is_(None), column < at.start, column >= at.end)


def _more(column: Any, at: Span) -> Any:
    return column > at.start if at.end is None else column >= at.end


def _most(column: Any, at: Span) -> Any:
    return column <= at.start if at.end is None else column < at.end


_COMPARED: Final[dict[str, Callable[..., Any]]] = {
    "is": _is,
    "not": _is_not,
    "any": lambda column, *given: or_(*(_is(column, at) for at in given)),
    "lt": lambda column, at: column < at.start,
    "gt": _more,
    "from": lambda column, at: column >= at.start,
    "to": _most,
    "between": lambda column, low, high: and_(column >= low.start, _most(column, high)),
}
