"""How the bulk paths tell a session's observer which rows they write.

`domain.cache.invalidation` observes; this room knows nothing of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Table, inspect

from domain.db.orm import Base

OWNER: Final = "user_id"
WRITES: Final = "writes"
"""The key of the observer in ``Session.info``, and of `WrittenRows` in execution options."""


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Rows of one table on their way into it.

    Args:
        table: The table.
        rows: Values by attribute name, the same ones in every row.
        certain: The attributes whose values the stored rows have for certain: of an upsert its
            key, of an insert all.
        attributes: The model's attribute names by column name.
    """

    table: Table
    rows: Sequence[Mapping[str, Any]]
    certain: frozenset[str]
    attributes: Mapping[str, str]

    @classmethod
    def of(
        cls,
        model: type[Base],
        rows: Sequence[Mapping[str, Any]],
        certain: Collection[str] | None = None,
    ) -> "WrittenRows":
        """Return `rows` of a model; `certain` defaults to all of their attributes."""
        table, names = _mapping(model)
        given = frozenset(rows[0] if rows else ())
        if certain is None:
            return cls(table, rows, given, names)
        owner = {OWNER} if owner_follows(table, certain) else set()
        return cls(table, rows, given & {*certain, *owner}, names)

    def values_of(self, columns: Collection[str]) -> Iterator[dict[str, Any]]:
        """Return the distinct certain values of `columns`, by column."""
        wanted = {
            column: self.attributes[column]
            for column in columns
            if self.attributes.get(column) in self.certain
        }
        distinct = {tuple(row[name] for name in wanted.values()) for row in self.rows}
        for values in distinct:
            yield dict(zip(wanted, values, strict=True))


def owner_follows(table: Table, key: Collection[str]) -> bool:
    """Return whether the columns `key` tell whose a row is.

    They do when they refer to a row with an owner: its key is composite, and holds the owner.
    """
    keys = (set(constraint.column_keys) for constraint in table.foreign_key_constraints)
    return any(OWNER in names and len(names) > 1 and names - {OWNER} <= set(key) for names in keys)


@cache
def _mapping(model: type[Base]) -> tuple[Table, Mapping[str, str]]:
    mapper = inspect(model)
    table = mapper.local_table
    assert isinstance(table, Table)  # noqa: S101 - declarative models map tables
    return table, {str(attr.columns[0].name): attr.key for attr in mapper.column_attrs}
