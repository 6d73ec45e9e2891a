"""What a plain INSERT, UPDATE or DELETE says about the rows it writes, before and after."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Delete, Insert, Table, Update
from sqlalchemy.dialects.postgresql.dml import OnConflictDoUpdate
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, Grouping


def equalities(statement: Any, table: str, context: Any) -> dict[str, Any]:
    """Return the column values that all rows of `table` written by a statement share.

    Args:
        statement: The compiled statement's element, if it has one.
        table: ``schema.name``.
        context: SQLAlchemy's execution context.
    """
    if not isinstance(statement, Insert | Update | Delete):
        return {}
    target = statement.table
    parameters = context.compiled_parameters
    if not isinstance(target, Table) or target.fullname != table or len(parameters) != 1:
        return {}
    if isinstance(statement, Insert):
        return _inserted(statement, target, parameters[0])
    names = context.compiled.bind_names
    fixed = {
        column: parameters[0][names[bind]]
        for criterion in statement._where_criteria  # noqa: SLF001 - whereclause is made of them
        for column, bind in _fixed(criterion)
        if bind in names and names[bind] in parameters[0]
    }
    changed = _changed(statement, context) if isinstance(statement, Update) else set()
    return {name: value for name, value in fixed.items() if name not in changed}


def _fixed(criterion: Any) -> Iterator[tuple[str, BindParameter[Any]]]:
    """Yield the columns that a criterion holds to one value, with its parameter."""
    if isinstance(criterion, Grouping):
        yield from _fixed(criterion.element)
    elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
        for part in criterion.clauses:
            yield from _fixed(part)
    elif isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
        left, right = criterion.left, criterion.right
        if isinstance(left, Column) and isinstance(right, BindParameter):
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
    return {name: value for name, value in values.items() if name in certain}
