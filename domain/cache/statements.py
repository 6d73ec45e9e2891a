"""What a plain INSERT, UPDATE or DELETE says about the rows it writes, before and after.

It is worked out once for a statement that SQLAlchemy compiled once, whatever its parameters are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Delete, Insert, Table, Update
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, Grouping

from domain.db.written import owner_follows


@dataclass(frozen=True, slots=True)
class Said:
    """What a statement says about the rows of one table that it writes.

    Args:
        fixed: The columns that have one value in all of them, with the parameter that holds it.
        assigned: The columns that it changes at most; None when it is no UPDATE.
    """

    fixed: tuple[tuple[str, str], ...] = ()
    assigned: frozenset[str] | None = None

    def values(self, context: Any) -> dict[str, Any]:
        """Return the values that all rows share in one execution."""
        if not self.fixed or len(context.compiled_parameters) != 1:
            return {}
        (parameters,) = context.compiled_parameters
        return {column: parameters[name] for column, name in self.fixed if name in parameters}


_NOTHING: Final = Said()
_known: Final[WeakKeyDictionary[Any, dict[str, Said]]] = WeakKeyDictionary()


def said(context: Any, table: str) -> Said:
    """Return what a statement says about the rows of `table` that it writes; of text, nothing.

    Args:
        context: SQLAlchemy's execution context, if there is one.
        table: ``schema.name``.
    """
    compiled = getattr(context, "compiled", None)
    if compiled is None:
        return _NOTHING
    by_table = _known.setdefault(compiled, {})
    found = by_table.get(table)
    if found is None:
        found = by_table[table] = _said(compiled, table)
    return found


def changed_by_itself(columns: Iterable[Any]) -> set[str]:
    """Return the columns that every UPDATE changes; generated ones follow others."""
    automatic = (col for col in columns if col.onupdate or col.server_onupdate)
    return {col.name for col in automatic if col.computed is None}


def _said(compiled: Any, table: str) -> Said:
    statement = _writing(compiled, table)
    if isinstance(statement, Insert):
        # Parameters have the names of the outermost statement's columns.
        is_outermost = statement is compiled.statement
        return Said(tuple(_inserted(statement))) if is_outermost else _NOTHING
    if statement is None:
        return _NOTHING
    names: Mapping[Any, str] = compiled.bind_names
    fixed = {
        column: names[bind]
        for criterion in statement._where_criteria  # noqa: SLF001 - whereclause is made of them
        for column, bind in _fixed(criterion, table)
        if bind in names
    }
    if isinstance(statement, Delete):
        return Said(tuple(fixed.items()))
    changed = _changed(statement, compiled)
    kept = tuple((column, name) for column, name in fixed.items() if column not in changed)
    return Said(kept, frozenset(changed | changed_by_itself(statement.table.columns)))


def _writing(compiled: Any, table: str) -> Insert | Update | Delete | None:
    """Return the part of a statement that writes `table`: itself, or a CTE of it."""
    ctes = getattr(compiled, "ctes", None) or ()
    parts = [getattr(compiled, "statement", None), *(cte.element for cte in ctes)]
    found = [
        part
        for part in parts
        if isinstance(part, Insert | Update | Delete) and _is(part.table, table)
    ]
    return found[0] if len(found) == 1 else None


def _is(target: Any, table: str) -> bool:
    return getattr(target, "fullname", None) == table


def _fixed(criterion: Any, table: str) -> Iterator[tuple[str, BindParameter[Any]]]:
    """Yield the columns of `table` that a criterion holds to one value, with its parameter."""
    if isinstance(criterion, Grouping):
        yield from _fixed(criterion.element, table)
    elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
        for part in criterion.clauses:
            yield from _fixed(part, table)
    elif isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
        left, right = criterion.left, criterion.right
        is_own = isinstance(left, Column) and _is(left.table, table)
        if is_own and isinstance(right, BindParameter):
            yield left.name, right


def _changed(statement: Update, compiled: Any) -> set[str]:
    """Return the columns that an UPDATE assigns."""
    given = [
        *(statement._values or {}),  # noqa: SLF001 - no public way to see it
        *(compiled.column_keys or ()),
    ]
    return {str(getattr(name, "name", name)) for name in given}


def _inserted(statement: Insert) -> Iterator[tuple[str, str]]:
    if statement.select is not None:
        return
    table = statement.table
    assert isinstance(table, Table)  # noqa: S101 - `_writing` looked at its name
    conflict = statement._post_values_clause  # noqa: SLF001 - no public way to see it
    certain = None
    if isinstance(conflict, OnConflictDoUpdate):
        # A row that was there has the conflict's key for certain; other columns may differ.
        targets = conflict.inferred_target_elements or ()
        certain = {str(getattr(element, "name", element)) for element in targets}
        if owner_follows(table, certain):
            certain.add("user_id")
    for column in table.columns:
        if certain is None or column.name in certain:
            yield column.name, column.key
