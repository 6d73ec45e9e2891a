"""From what was written to what is stale: keys of single answers, tags of groups.

The more is known of the rows, the fewer answers go. Values known for all parameters of an answer
name one; values known for a group of parameters name a group; a write of which nothing is known
takes all answers that depend on its table.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Table

from domain.cache.declaring import CachedRead
from domain.cache.keys import Keyspace
from domain.cache.store import Touched
from domain.errors import InvalidData

Known = Mapping[str, Any]
"""Values of columns, by name, that all rows of a write share."""

_MOST_KEYS: Final = 2_000
_WRITES: Final = re.compile(
    r"\b(?:INSERT\s+INTO|(?<!FOR )UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?)\s+"
    r'(?:ONLY\s+)?("?\w+"?\."?\w+"?)',
    re.IGNORECASE,
)
_DELETES: Final = re.compile(r"\b(?:DELETE\s+FROM|TRUNCATE)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Dependency:
    """An answer and rows that make it stale.

    Args:
        read: The answer.
        columns: The columns of the rows that hold its parameters, by parameter.
        ignored: The columns that it does not read.
    """

    read: CachedRead[Any, Any]
    columns: Mapping[str, str]
    ignored: frozenset[str]


class Dependencies:
    """Which answers depend on which tables.

    Args:
        keyspace: The keyspace of the answers.
        reads: The declared answers.
    """

    def __init__(self, keyspace: Keyspace, reads: Iterable[CachedRead[Any, Any]]) -> None:
        self._keyspace = keyspace
        self._by_table: dict[str, list[_Dependency]] = defaultdict(list)
        for read in reads:
            for rows in read.stale_by:
                found = _Dependency(read, rows.columns(read.audience), rows.ignored)
                self._by_table[rows.table.fullname].append(found)

    def concerns(self, table: str) -> bool:
        """Return whether any answer depends on the table ``schema.name``."""
        return table in self._by_table

    def columns(self, table: str) -> frozenset[str]:
        """Return the columns of a table whose values name answers or groups."""
        return frozenset(
            column for found in self._by_table.get(table, ()) for column in found.columns.values()
        )

    def touch(
        self,
        into: "Touches",
        table: str,
        known: Known,
        *,
        changed: frozenset[str] | None = None,
    ) -> None:
        """Add to `into` what a write to `table` makes stale.

        Args:
            into: Where it goes.
            table: ``schema.name``.
            known: The column values that all written rows have, before and after the write.
            changed: The only columns that the write changes, when that is known.
        """
        for found in self._by_table.get(table, ()):
            if changed is not None and changed <= found.ignored:
                continue
            given = {name: known[col] for name, col in found.columns.items() if col in known}
            into.add(found.read.name, self._narrowest(found.read, given))
            into.widen(found.read.name, self.everything(found.read))

    def _narrowest(self, read: CachedRead[Any, Any], given: dict[str, Any]) -> "Stale":
        """Return the answer that `given` names, else the smallest group that it names."""
        try:
            if given.keys() == set(read.parameters):
                return Stale(read.key(self._keyspace, given), is_tag=False)
            groups = (group for group in read.groups if set(group) <= given.keys())
            return Stale(read.tag(self._keyspace, max(groups, key=len), given), is_tag=True)
        except InvalidData:
            # No key can be written of such a value, so no answer has it; others may be meant.
            return Stale(self.everything(read), is_tag=True)

    def everything(self, read: CachedRead[Any, Any]) -> str:
        """Return the tag of all answers of `read`."""
        return read.tag(self._keyspace, (), {})


@dataclass(frozen=True, slots=True)
class Stale:
    """The key of an answer, or of a tag."""

    key: str
    is_tag: bool


class Touches:
    """What one transaction has made stale so far."""

    def __init__(self) -> None:
        self._keys: dict[str, set[str]] = defaultdict(set)
        self._tags: set[str] = set()

    def add(self, name: str, stale: Stale) -> None:
        """Add one key or tag of the answer called `name`."""
        (self._tags if stale.is_tag else self._keys[name]).add(stale.key)

    def widen(self, name: str, everything: str) -> None:
        """Let one tag stand for the keys of an answer when there are too many."""
        if len(self._keys[name]) > _MOST_KEYS:
            self._keys[name].clear()
            self._tags.add(everything)

    def take(self) -> Touched:
        """Return what is stale and forget it."""
        keys = frozenset(key for found in self._keys.values() for key in found)
        taken = Touched(keys, frozenset(self._tags))
        self._keys.clear()
        self._tags.clear()
        return taken

    def __bool__(self) -> bool:
        return bool(self._keys or self._tags)


@cache
def written_tables(sql: str) -> frozenset[str]:
    """Return the tables, ``schema.name``, that a statement writes by name.

    Example:
        >>> sorted(written_tables('UPDATE a.b SET x = 1; SELECT 1 FROM c.d FOR UPDATE OF d'))
        ['a.b']
    """
    return frozenset(found.replace('"', "") for found in _WRITES.findall(sql))


@cache
def deletes(sql: str) -> bool:
    """Return whether a statement deletes rows, whose children then go by cascade."""
    return _DELETES.search(sql) is not None


def cascaded(table: Table, known: Known) -> Sequence[tuple[Table, Known]]:
    """Return the tables whose rows the server deletes or changes with rows of `table`.

    Args:
        table: Where rows are deleted.
        known: The column values that all of them have.

    Returns:
        Each table with the values that its rows have for certain: those of the foreign key.
    """
    found: dict[tuple[Table, frozenset[tuple[str, Any]]], Known] = {}
    waiting = [(table, known)]
    while waiting:
        parent, given = waiting.pop()
        for child, pairs, is_deleted in _children(parent):
            passed = {own: given[theirs] for own, theirs in pairs if theirs in given}
            way = (child, frozenset(passed.items()))
            if way in found:
                continue
            found[way] = passed
            if is_deleted:
                waiting.append((child, passed))
    return [(child, passed) for (child, _), passed in found.items()]


@cache
def _children(parent: Table) -> Sequence[tuple[Table, Sequence[tuple[str, str]], bool]]:
    """Return who refers to a table: by which columns, and whether rows go or lose the reference."""
    return [
        (
            child,
            [(element.parent.name, element.column.name) for element in key.elements],
            key.ondelete == "CASCADE",
        )
        for child in parent.metadata.tables.values()
        for key in child.foreign_key_constraints
        if key.referred_table is parent and key.ondelete in {"CASCADE", "SET NULL"}
    ]
