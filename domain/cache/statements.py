"""What a plain INSERT, UPDATE or DELETE says about the rows it writes, before and after."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Delete, Insert, Table, Update
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, Grouping

from domain.db.written import owner_follows


def writing(context: Any, table: str) -> Any:
    """Return the part of a statement that writes `table`: itself, or a CTE of it; None for text.

    Args:
        context: SQLAlchemy's execution context, if there is one.
        table: ``schema.name``.
    """
    compiled = getattr(context, "compiled", None)
    ctes = getattr(compiled, "ctes", None) or ()
    parts = [getattr(compiled, "statement", None), *(cte.element for cte in ctes)]
    found = [
        part
        for part in parts
        if isinstance(part, Insert | Update | Delete) and _is(part.table, table)
    ]
    return found[0] if len(found) == 1 else None


def assigned(statement: Any, context: Any) -> frozenset[str] | None:
    """Return the columns that a statement changes at most; None when it is no UPDATE."""
    if not isinstance(statement, Update):
        return None
    return frozenset(_changed(statement, context) | changed_by_itself(statement.table.columns))


def changed_by_itself(columns: Iterable[Any]) -> set[str]:
    """Return the columns that every UPDATE changes; generated ones follow others."""
    automatic = (col for col in columns if col.onupdate or col.server_onupdate)
    return {col.name for col in automatic if col.computed is None}


def _is(target: Any, table: str) -> bool:
    return getattr(target, "fullname", None) == table


def equalities(statement: Any, table: str, context: Any) -> dict[str, Any]:
    """Return the column values that all rows of `table` written by a statement share.

    Args:
        statement: What `writing` found.
        table: ``schema.name``.
        context: SQLAlchemy's execution context.
    """
    if not isinstance(statement, Insert | Update | Delete):
        return {}
    parameters = context.compiled_parameters
    if len(parameters) != 1:
        return {}
    target = statement.table
    assert isinstance(target, Table)  # noqa: S101 - `writing` looked at its name
    if isinstance(statement, Insert):
        return _inserted(statement, target, parameters[0])
    names = context.compiled.bind_names
    fixed = {
        column: parameters[0][names[bind]]
        for criterion in statement._where_criteria  # noqa: SLF001 - whereclause is made of them
        for column, bind in _fixed(criterion, table)
        if bind in names and names[bind] in parameters[0]
    }
    changed = _changed(statement, context) if isinstance(statement, Update) else set()
    return {name: value for name, value in fixed.items() if name not in changed}


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


def _changed(statement: Update, context: Any) -> set[str]:
    """Return the columns that an UPDATE assigns."""
    given = [
        *(statement._values or {}),  # noqa: SLF001 - no public way to see it
        *(context.compiled.column_keys or ()),
    ]
    return {str(getattr(name, "name", name)) for name in given}


def _inserted(statement: Insert, table: Table, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if statement.select is not None:
        return {}
    values = {
        column.name: parameters[column.key] for column in table.columns if column.key in parameters
    }
    conflict = statement._post_values_clause  # noqa: SLF001 - no public way to see it
    if not isinstance(conflict, OnConflictDoUpdate):
        return values
    # A row that was there has the conflict's key for certain; its other columns may differ.
    targets = conflict.inferred_target_elements or ()
    certain = {str(getattr(element, "name", element)) for element in targets}
    if owner_follows(table, certain):
        certain.add("user_id")
    return {name: value for name, value in values.items() if name in certain}
