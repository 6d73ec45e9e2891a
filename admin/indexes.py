"""What the indexes of a table serve: orders, searches inside texts, first choices of filters."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Index, PrimaryKeyConstraint, Table, UniqueConstraint

Step = tuple[str, bool]
"""A column and whether it descends."""


@dataclass(frozen=True, slots=True)
class Order:
    """One column of an order that is asked for.

    Args:
        name: The column in the database.
        is_descending: Whether the largest comes first.
        is_plain: Whether rows without a value stand where an index puts them.
    """

    name: str
    is_descending: bool
    is_plain: bool = True


@cache
def trees(table: Table) -> tuple[Sequence[Step], ...]:
    """Return the columns of each index over all rows that can be walked in order."""
    return tuple(_trees(table))


def _trees(table: Table) -> Iterator[Sequence[Step]]:
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            yield [(column.name, False) for column in constraint.columns]
    for index in table.indexes:
        options = index.dialect_options["postgresql"]
        if options.get("where") is None and (options.get("using") or "btree") == "btree":
            yield _steps(table, index)


def _steps(table: Table, index: Index) -> list[Step]:
    """Return the plain columns that an index begins with; pattern operators order nothing."""
    names = set(table.columns.keys())
    steps: list[Step] = []
    for expression in index.expressions:
        words = str(getattr(expression, "name", None) or expression).replace('"', "").split()
        name = words[0].rpartition(".")[2]
        if name not in names or not set(words[1:]) <= {"DESC", "ASC"}:
            break
        steps.append((name, "DESC" in words[1:]))
    return steps


def serves(table: Table, fixed: Collection[str], order: Sequence[Order]) -> bool:
    """Return whether an index walks `order` without sorting.

    Args:
        table: The table.
        fixed: Columns that are equal in every row, as an equality filter makes them.
        order: What is asked for.
    """
    if not all(item.is_plain for item in order):
        return False
    asked = [(item.name, item.is_descending) for item in order]
    return any(_walks(steps, fixed, asked) for steps in trees(table))


def _walks(steps: Sequence[Step], fixed: Collection[str], asked: Sequence[Step]) -> bool:
    free = [step for step in steps if step[0] not in fixed]
    is_led = all(name in fixed for name, _ in steps[: len(steps) - len(free)])
    lead = free[: len(asked)]
    turned = [(name, not is_down) for name, is_down in lead]
    return is_led and list(asked) in (lead, turned)


@cache
def leading(table: Table) -> frozenset[str]:
    """Return the columns that an index begins with: filters on them are quick."""
    found = {steps[0][0] for steps in trees(table) if steps}
    for index in table.indexes:
        first = str(getattr(index.expressions[0], "name", None) or index.expressions[0])
        found.add(first.split(maxsplit=1)[0].strip('"').rpartition(".")[2])
    return frozenset(found & set(table.columns.keys()))


@cache
def trigrams(table: Table) -> frozenset[str]:
    """Return the columns in whose texts an index finds any part."""
    found: set[str] = set()
    for index in table.indexes:
        operators = index.dialect_options["postgresql"].get("ops") or {}
        words = [str(item) for item in index.expressions]
        found |= {name for name, operator in operators.items() if "trgm" in operator}
        found |= {item.split()[0].strip('"') for item in words if "trgm" in item}
    return frozenset(found & set(table.columns.keys()))
