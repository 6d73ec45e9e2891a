"""The form that builds conditions: which columns it offers, its rows, and what comes back.

A row's inputs are named by its place in the tree: ``f-0``, ``o-0`` and ``v-0`` at the top,
``f-1.0`` in the group at place 1, whose word is ``g-1``; ``g-`` is the word of the whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from gettext import GNUTranslations
from html import escape
from typing import Final

from markupsafe import Markup
from starlette.datastructures import QueryParams

from admin.conditions import OPERATORS, Condition, Group, kind_of
from admin.fields import Field
from admin.indexes import leading, trigrams
from admin.records import RecordView
from admin.translating import label, language, word
from domain.errors import InvalidData

MARK: Final = "build"
"""The parameter that says that a form of conditions came back."""

_VALUE: Final = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*(?=\||$)|([^|]+)', re.DOTALL)
_ROW: Final = re.compile(r"f-(\d{1,3}(?:\.\d{1,3})*)")
_MOST_ROWS: Final = 50
_DEEPEST: Final = 4
_SPARE: Final = Condition("", "")


@dataclass(frozen=True, slots=True)
class Offered:
    """A column that conditions may be about.

    Args:
        name: The attribute.
        label: What people read.
        kind: Which operators it has.
        operators: Their words, separated by blanks.
        choices: (value, label) pairs of a closed vocabulary.
        target: Identity of the view that a reference leads to.
        is_quick: Whether an index or the view's own filters make it quick.
    """

    name: str
    label: str
    kind: str
    operators: str
    choices: Sequence[tuple[str, str]]
    target: str
    is_quick: bool


@dataclass(frozen=True, slots=True)
class BuiltRow:
    """One line of the form.

    Args:
        place: Its place in the tree.
        condition: What it shows; empty for a line that is free.
    """

    place: str
    condition: Condition

    @property
    def texts(self) -> str:
        """The values as one text; one that a bar would cut in two stands in quotes."""
        values, known = self.condition.values, OPERATORS.get(self.condition.operator)
        is_one = known is None or known.most <= 1
        return " | ".join(values if is_one else (_quoted(value) for value in values))


@dataclass(frozen=True, slots=True)
class BuiltGroup:
    """One frame of the form.

    Args:
        place: Its place in the tree; empty for the outermost.
        word: ``and`` or ``or``.
        rows: Its lines, one of them free.
        groups: The frames inside.
        following: The first place that nothing has.
    """

    place: str
    word: str
    rows: Sequence[BuiltRow]
    groups: Sequence["BuiltGroup"]
    following: int


def offered(view: RecordView, *, is_small: bool) -> list[Offered]:
    """Return the columns of the form: the quick ones, and all of a small table.

    Args:
        view: The table.
        is_small: Whether the table has at most `ordering.SMALL` records.
    """
    quick = _quick(view)
    contained = {item.name for item in view.table.columns} if is_small else trigrams(view.table)
    found = [
        _offered(view, item, is_quick=item.name in quick, may_contain=item.name in contained)
        for item in view.fields(view.visible())
    ]
    shown = [item for item in found if item.is_quick or is_small]
    return sorted(shown, key=lambda item: (not item.is_quick, label(item.label)))


def _offered(view: RecordView, field: Field, *, is_quick: bool, may_contain: bool) -> Offered:
    kind = kind_of(view, field)
    words = [word for word, item in OPERATORS.items() if kind in item.kinds]
    return Offered(
        name=field.name,
        label=field.label,
        kind=kind,
        # Without its own kind of index, a part of a text is found by reading every record.
        operators=" ".join(word for word in words if word != "contains" or may_contain),
        choices=field.choices,
        target=field.target,
        is_quick=is_quick,
    )


def options_of(columns: Sequence[Offered], chosen: str, root: str) -> Markup:
    """Return the columns that a condition may be about.

    Args:
        columns: What is offered.
        chosen: The attribute that the condition is about.
        root: Where the admin is mounted.
    """
    found = [
        f"<option{' selected' if name == chosen else ''}{rest}"
        for name, rest in _options(tuple(columns), root, language().words)
    ]
    return Markup("".join(found))  # noqa: S704 - every part is escaped


@lru_cache(maxsize=256)
def _options(
    columns: tuple[Offered, ...], root: str, _words: GNUTranslations | None
) -> Sequence[tuple[str, str]]:
    """Return each column with the rest of its option: the same for every line in a language."""
    return [(item.name, _option(item, root)) for item in columns]


def _option(item: Offered, root: str) -> str:
    choices = "|".join(f"{value}={word(shown_as)}" for value, shown_as in item.choices)
    lookup = f"{root}/{item.target}/lookup" if item.target else ""
    parts = (("value", item.name), ("data-kind", item.kind), ("data-operators", item.operators))
    given = [*parts, ("data-lookup", lookup), ("data-choices", choices)]
    attributes = "".join(f' {name}="{escape(text)}"' for name, text in given if text)
    return f"{attributes}>{escape(label(item.label))}</option>"


def _quick(view: RecordView) -> set[str]:
    declared = {*view.filters, *view.keys, *view.pickers, view.time_column}
    declared |= {column.key for column in (*view.order, *view.search)}
    stored = leading(view.table) | trigrams(view.table)
    columns = view.mapper.column_attrs
    return declared | {item.key for item in columns if item.columns[0].name in stored}


# ── the form as it is shown ──────────────────────────────────────────────────────────────────────


def built(group: Group, place: str = "") -> BuiltGroup:
    """Return the form of `group`, with a free line at the end of each frame."""
    inner = f"{place}." if place else ""
    rows = [
        BuiltRow(f"{inner}{at}", part)
        for at, part in enumerate(group.parts)
        if isinstance(part, Condition)
    ]
    groups = [
        built(part, f"{inner}{at}")
        for at, part in enumerate(group.parts)
        if isinstance(part, Group)
    ]
    free = len(group.parts)
    spare = BuiltRow(f"{inner}{free}", _SPARE)
    return BuiltGroup(place, group.word, [*rows, spare], groups, free + 1)


# ── the form as it comes back ────────────────────────────────────────────────────────────────────


def from_form(params: QueryParams) -> Group:
    """Return the conditions that a form sent; lines without a column are left out.

    Raises:
        InvalidData: There are too many lines, or frames too deep.
    """
    rows: dict[tuple[int, ...], Condition] = {}
    for name in params:
        if (found := _ROW.fullmatch(name)) and params[name]:
            place = tuple(int(step) for step in found[1].split("."))
            rows[place] = _condition(params, found[1])
    if len(rows) > _MOST_ROWS:
        raise InvalidData("conditions", len(rows), f"be at most {_MOST_ROWS}")
    if any(len(place) > _DEEPEST for place in rows):
        raise InvalidData("conditions", "groups", f"be nested at most {_DEEPEST} deep")
    return _group(params, rows, ())


def _condition(params: QueryParams, place: str) -> Condition:
    operator = params.get(f"o-{place}") or "is"
    given = [value for value in params.getlist(f"v-{place}") if value.strip()]
    known = OPERATORS.get(operator)
    if known is not None and known.most == 0:
        return Condition(params[f"f-{place}"], operator)
    if known is not None and known.most > 1 and len(given) == 1:
        given = _cut(given[0])
    return Condition(params[f"f-{place}"], operator, tuple(given))


def _quoted(value: str) -> str:
    if "|" not in value and not value.startswith('"'):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _cut(text: str) -> list[str]:
    """Return the values of a text: bars stand between them, but for those in quotes."""
    found = []
    for quoted, bare in _VALUE.findall(text):
        found.append(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else bare.strip())
    return [value for value in found if value]


def _group(
    params: QueryParams, rows: Mapping[tuple[int, ...], Condition], place: tuple[int, ...]
) -> Group:
    depth = len(place)
    steps = {row[depth] for row in rows if row[:depth] == place and len(row) > depth}
    parts = [
        rows[inner] if (inner := (*place, step)) in rows else _group(params, rows, inner)
        for step in sorted(steps)
    ]
    word = params.get(f"g-{'.'.join(map(str, place))}", "and")
    return Group("or" if word == "or" else "and", tuple(parts))
