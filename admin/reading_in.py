"""Rows of a file become records of a table: matched by their key, inserted or updated, reported.

A dry run does all of it and is rolled back, so what it reports is what PostgreSQL says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, Uuid

from admin.addressing import identifier
from admin.fields import Field, ReferenceField, label_of
from admin.records import RecordView
from admin.tabular import Line, Tabular
from admin.translating import marked
from admin.writing import Draft
from domain.db.unit import Unit, UnitOfWork
from domain.errors import ConstraintViolation, InvalidData, RejectedValue
from domain.identity.models import RowOutcome

Mode = Literal["insert", "update", "both"]
MODES: Final[Mapping[str, str]] = {
    "both": marked("make new records and update those that are there"),
    "insert": marked("make new records; refuse those that are there"),
    "update": marked("update records that are there; refuse others"),
}

_BATCH: Final = 200
_LONG: Final = 80
"""Characters of a wrong value that a report repeats."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file becomes records.

    Args:
        view: The table.
        mapping: The file's heading of each attribute.
        key: Attributes by which a row finds its record; empty: every row is new.
        mode: Whether records are made, updated or both.
    """

    view: RecordView
    mapping: Mapping[str, str]
    key: Sequence[str]
    mode: Mode = "both"

    def fields(self) -> list[Field]:
        """Return the form fields of the attributes that the file has."""
        return self.view.fields(list(self.mapping))


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row is refused.

    Args:
        line: Line of the file.
        column: The attribute; empty for the row itself.
        value: What stands there.
        rule: The rule in words, to be read after "must".
    """

    line: int
    column: str
    value: str
    rule: str


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a row.

    Args:
        line: Line of the file.
        outcome: Whether it was inserted, updated, unchanged or refused.
        record_key: The record, as in its address.
        before: Texts that were replaced.
        after: Texts that were written.
        faults: Why it was refused.
    """

    line: int
    outcome: RowOutcome
    record_key: str | None = None
    before: Mapping[str, str] | None = None
    after: Mapping[str, str] | None = None
    faults: Sequence[Fault] = ()


@dataclass(slots=True)
class Report:
    """What became of a file.

    Args:
        done: Each row, in the order of the file.
    """

    done: list[Done] = field(default_factory=list)

    def count(self, outcome: RowOutcome) -> int:
        """Return how many rows ended so."""
        return sum(item.outcome is outcome for item in self.done)

    @property
    def faults(self) -> list[Fault]:
        """Everything that is wrong, in the order of the file."""
        return [fault for item in self.done for fault in item.faults]


# ── what a table offers ──────────────────────────────────────────────────────────────────────────


def attributes_of(view: RecordView) -> list[str]:
    """Return the attributes that a file may fill."""
    return list(dict.fromkeys([*view.creatable, *view.editable]))


def guessed_mapping(view: RecordView, headings: Sequence[str]) -> dict[str, str]:
    """Return the heading of each attribute that is called like it."""
    known = {_plain(heading): heading for heading in headings}
    found = {}
    for name in attributes_of(view):
        for word in (name, label_of(name), name.removesuffix("_id")):
            if _plain(word) in known:
                found[name] = known[_plain(word)]
                break
    return found


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


def keys_of(view: RecordView, mapped: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the unique keys of a table that a file with these attributes has."""
    given = set(mapped)
    columns = {item.columns[0].name: item.key for item in view.mapper.column_attrs}
    unique = [tuple(view.table.primary_key.columns)]
    unique += [tuple(c.columns) for c in view.table.constraints if isinstance(c, UniqueConstraint)]
    unique += [tuple(i.columns) for i in view.table.indexes if _is_key(i)]
    named = [tuple(columns[column.name] for column in key) for key in unique]
    return list(dict.fromkeys(key for key in named if key and given.issuperset(key)))


def _is_key(index: Index) -> bool:
    return index.unique and len(index.columns) == len(index.expressions)


# ── values ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Row:
    """A row with what its cells stand for.

    Args:
        line: The row of the file.
        values: Values by attribute; empty cells have none.
        faults: What cannot be read.
    """

    line: Line
    values: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def text(self, plan: Plan, name: str) -> str:
        """Return the cell of an attribute."""
        return self.line.cells.get(plan.mapping[name]) or ""

    def fault_of(self, name: str) -> str:
        """Return what is wrong with an attribute; empty when nothing is."""
        return next((fault.rule for fault in self.faults if fault.column == name), "")


async def read_rows(unit: Unit, plan: Plan, lines: Sequence[Line]) -> list[Row]:
    """Return the rows with the values that their cells stand for, or what is wrong with them."""
    rows = [Row(line) for line in lines]
    for row in rows:
        if row.line.fault:
            row.faults.append(Fault(row.line.number, "", "", row.line.fault))
    for item in plan.fields():
        readable = [row for row in rows if not row.line.fault and row.text(plan, item.name).strip()]
        names = await _named(unit, plan, item, readable)
        for row in readable:
            _read_cell(plan, row, item, names)
    return rows


def _read_cell(plan: Plan, row: Row, item: Field, names: Mapping[str, Sequence[Any]]) -> None:
    text = row.text(plan, item.name)
    try:
        if text in names:
            row.values[item.name] = _only(item, text, names[text])
        else:
            row.values[item.name] = item.value_of(text)
    except InvalidData as error:
        row.faults.append(Fault(row.line.number, item.name, text[:_LONG], error.rule))


def _only(item: Field, text: str, found: Sequence[Any]) -> Any:
    if len(found) != 1:
        count = "no record" if not found else f"{len(found)} records"
        raise InvalidData(item.name, text, f"be the id of a record: {count} of this name")
    return found[0]


async def _named(
    unit: Unit, plan: Plan, item: Field, rows: Sequence[Row]
) -> Mapping[str, Sequence[Any]]:
    """Return the records that references call by their name instead of their id."""
    target = plan.view.targets().get(item.name)
    if target is None or not isinstance(item, ReferenceField) or not target.search:
        return {}
    column = target.search[0]
    texts = {text for row in rows if not _is_uuid(text := row.text(plan, item.name))}
    if not texts or isinstance(column.type, Uuid):
        return {}
    asked = [text for text in texts if "\x00" not in text]
    keys = target.mapper.primary_key
    statement = target.rows(unit).query(column.in_(asked)).with_only_columns(column, *keys)
    found: dict[str, list[Any]] = {text: [] for text in texts}
    for row in await unit.session.execute(statement):
        found[row[0]].append(row[1])
    return found


def _is_uuid(text: str) -> bool:
    try:
        UUID(text.strip())
    except ValueError:
        return False
    return True


# ── records ──────────────────────────────────────────────────────────────────────────────────────


async def read_in(unit: UnitOfWork, plan: Plan, table: Tabular) -> Report:
    """Make and update the records of a file; whoever called decides whether they stay.

    Args:
        unit: An open transaction.
        plan: How rows become records.
        table: The file.

    Returns:
        What became of each row. Refused rows wrote nothing.
    """
    report = Report()
    rows = await read_rows(unit, plan, table.lines)
    for start in range(0, len(rows), _BATCH):
        report.done += await _batch(unit, plan, rows[start : start + _BATCH])
    return report


async def _batch(unit: UnitOfWork, plan: Plan, rows: Sequence[Row]) -> list[Done]:
    """Take in rows together, and one by one when PostgreSQL refuses any of them."""
    try:
        async with unit.session.begin_nested():
            return [await _take_in(unit, plan, row) for row in rows]
    except _REFUSALS:
        return [await _alone(unit, plan, row) for row in rows]


async def _alone(unit: UnitOfWork, plan: Plan, row: Row) -> Done:
    try:
        async with unit.session.begin_nested():
            return await _take_in(unit, plan, row)
    except _REFUSALS as error:
        return _refused(row, [_fault(plan, row, error)])


_REFUSALS: Final = (InvalidData, ConstraintViolation, RejectedValue)


def _fault(plan: Plan, row: Row, error: InvalidData | ConstraintViolation | RejectedValue) -> Fault:
    draft = Draft(plan.fields())
    draft.note(error)
    ((place, words),) = draft.errors.items()
    rule = error.rule if isinstance(error, InvalidData) else words
    text = row.text(plan, place) if place in plan.mapping else ""
    return Fault(row.line.number, place, text[:_LONG], rule)


def _refused(row: Row, faults: Sequence[Fault]) -> Done:
    return Done(row.line.number, RowOutcome.REJECTED, faults=faults)


async def _take_in(unit: UnitOfWork, plan: Plan, row: Row) -> Done:
    if row.faults:
        return _refused(row, row.faults)
    record = await _match(unit, plan, row)
    if record is None:
        return await _insert(unit, plan, row)
    if plan.mode == "insert":
        key = ", ".join(row.text(plan, name) for name in plan.key)
        rule = "be new: there is a record with this key"
        return _refused(row, [Fault(row.line.number, plan.key[0], key[:_LONG], rule)])
    return await _update(unit, plan, row, record)


async def _match(unit: UnitOfWork, plan: Plan, row: Row) -> Any:
    """Return the record that a row is about, or None.

    Raises:
        InvalidData: The key does not tell records apart.
    """
    if not plan.key:
        return None
    columns = {name: getattr(plan.view.model, name) for name in plan.key}
    same = [
        column == row.values[name] if name in row.values else column.is_(None)
        for name, column in columns.items()
    ]
    repository = plan.view.rows(unit)
    found = await repository.all(repository.query(*same).limit(2))
    if len(found) > 1:
        raise InvalidData(plan.key[0], row.text(plan, plan.key[0]), "match one record only")
    return found[0] if found else None


async def _insert(unit: UnitOfWork, plan: Plan, row: Row) -> Done:
    if plan.mode == "update":
        rule = "be the key of a record that is there"
        name = plan.key[0] if plan.key else ""
        return _refused(row, [Fault(row.line.number, name, "", rule)])
    needed = [item.name for item in plan.view.fields(plan.view.creatable) if item.is_required]
    missing = [name for name in needed if name not in row.values]
    if missing:
        return _refused(row, [Fault(row.line.number, name, "", "be filled in") for name in missing])
    record = plan.view.rows(unit).add(plan.view.model(**row.values))
    await unit.flush()
    key = identifier(plan.view, record)
    after = _texts(plan, record, row.values)
    return Done(row.line.number, RowOutcome.INSERTED, key, after=after)


async def _update(unit: UnitOfWork, plan: Plan, row: Row, record: Any) -> Done:
    key, line = identifier(plan.view, record), row.line.number
    fields = [item for item in plan.fields() if item.name in row.values]
    changed = [
        item
        for item in fields
        if item.write(getattr(record, item.name)) != item.write(row.values[item.name])
    ]
    fixed = [item.name for item in changed if item.name not in plan.view.editable]
    if fixed:
        rule = "stay as it is: it is set when a record is made"
        return _refused(row, [Fault(line, name, row.text(plan, name), rule) for name in fixed])
    if not changed:
        return Done(line, RowOutcome.UNCHANGED, key)
    values = {item.name: row.values[item.name] for item in changed}
    before = _texts(plan, record, values)
    version = record.version if plan.view.is_versioned else None
    ident = plan.view.mapper.primary_key_from_instance(record)
    written = await plan.view.rows(unit).patch(tuple(ident), version=version, **values)
    return Done(line, RowOutcome.UPDATED, key, before, _texts(plan, written, values))


def _texts(plan: Plan, record: Any, names: Iterable[str]) -> dict[str, str]:
    fields = plan.view.fields(list(names))
    return {item.name: item.write(getattr(record, item.name)) for item in fields}
