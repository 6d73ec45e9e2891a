"""Turns the difference of two catalogs into steps, each with its way back.

Works on snapshots alone: no connection and no Alembic. Which tables and columns come and go is
Alembic's part, told to `difference` as a `Structure`; all else is found and ordered here.
"""

import heapq
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from domain.db.catalog import Fact, Snapshot
from domain.db.objects import literal, quoted

# In this order where nothing else decides; reversed when they go.
_KINDS: Final = (
    "schema", "extension", "type", "sequence", "routine", "table", "column", "not null", "identity",
    "time series", "default", "primary key", "unique", "check", "exclusion", "foreign key", "index",
    "statistics",
    "storage", "view", "rule", "trigger", "row security", "policy", "grant", "comment",
)  # fmt: skip
# These exist before the tables and outlive them.
_FOUNDATIONS: Final = frozenset({"schema", "extension", "type", "sequence", "routine"})
# What CREATE TABLE says by itself, and DROP TABLE takes with it.
_PARTS_OF_TABLE: Final = frozenset(
    {"table", "column", "not null", "identity", "default", "primary key", "unique", "check",
     "foreign key", "exclusion", "storage"}
)  # fmt: skip
_PARTS_OF_COLUMN: Final = frozenset({"column", "not null", "identity", "default"})
# What PostgreSQL refuses to keep while the type of a column under it changes.
_BLOCKS_NEW_TYPE: Final = frozenset(
    {"default", "view", "rule", "trigger", "policy", "statistics", "column"}
)
_PLAIN_INDEX: Final = re.compile(r"^CREATE (UNIQUE )?INDEX ")
_LABEL: Final = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, slots=True)
class Step:
    """One change and its reverse.

    Args:
        change: ``add``, ``remove``, ``change`` or ``again`` (removed and added for another's sake).
        fact: The name of what changes.
        definition: What it is, or was when it is removed.
        upgrade: The statements of the change.
        downgrade: The statements that undo it.
    """

    change: str
    fact: str
    definition: str
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps around Alembic's own.

    Args:
        before: Before tables and columns come and go.
        after: After it.
        outside: After that and outside a transaction: they take long and lock little.
    """

    before: list[Step]
    after: list[Step]
    outside: list[Step]


@dataclass(frozen=True, slots=True)
class Structure:
    """What Alembic does by itself.

    Args:
        created: Tables that come, as ``schema.table``.
        dropped: Tables that go.
        added: Columns that come in tables that stay, as (table, column).
        removed: Columns that go.
        deferred: The names of foreign keys that come after the tables because they form a circle.
    """

    created: Collection[str] = ()
    dropped: Collection[str] = ()
    added: Collection[tuple[str, str]] = ()
    removed: Collection[tuple[str, str]] = ()
    deferred: Collection[str] = ()

    def makes(self, fact: Fact) -> bool:
        """Tell whether creating tables and adding columns makes `fact` true."""
        if fact.name in self.deferred:
            return False
        return _is_part(fact, self.created, self.added)

    def unmakes(self, fact: Fact) -> bool:
        """Tell whether dropping tables and columns takes `fact` away, and undoing brings it."""
        # Reflection does not see exclusion constraints: they would not come back.
        return fact.kind != "exclusion" and _is_part(fact, self.dropped, self.removed)


def _is_part(fact: Fact, tables: Collection[str], columns: Collection[tuple[str, str]]) -> bool:
    remark_on_part = fact.kind == "comment" and fact.shape in {"table", "column"}
    if fact.relation in tables:
        return fact.kind in _PARTS_OF_TABLE or remark_on_part
    if (fact.relation, fact.column) in columns:
        return fact.kind in _PARTS_OF_COLUMN or remark_on_part
    return False


def difference(real: Snapshot, wanted: Snapshot, structure: Structure) -> Steps:
    """Return the steps that turn `real` into `wanted`.

    Args:
        real: The database as it is.
        wanted: The database as it is to be.
        structure: What is done between ``before`` and ``after``.
    """
    return _Plan(real, wanted, structure).steps()


@dataclass
class _Plan:
    real: Snapshot
    wanted: Snapshot
    structure: Structure
    changed: set[str] = field(init=False)
    in_place: set[str] = field(init=False)
    goes: set[str] = field(init=False)
    comes: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.changed = set(self._changed())
        both = self.changed & self.real.facts.keys() & self.wanted.facts.keys()
        self.in_place = {name for name in both if self._fits_in_place(name)}
        self.goes = (self.changed & self.real.facts.keys()) - self.in_place
        self.comes = (self.changed & self.wanted.facts.keys()) - self.in_place
        again = self._in_the_way()
        self.in_place -= again
        self.goes |= again
        self.comes |= again & self.wanted.facts.keys()

    def steps(self) -> Steps:
        early = self._early()
        outside: list[Step] = []
        before = [self._removal(name) for name in self._departures() if not self._is_late(name)]
        before += self._arrivals(early, outside)
        after = self._arrivals((self.comes | self.in_place) - early, outside)
        after += [self._removal(name) for name in self._departures() if self._is_late(name)]
        return Steps(before, after, outside)

    def _changed(self) -> Iterator[str]:
        for name in self.real.facts.keys() | self.wanted.facts.keys():
            old, new = self.real.facts.get(name), self.wanted.facts.get(name)
            if old and new and old.definition == new.definition:
                continue
            if (new and self.structure.makes(new)) or (old and self.structure.unmakes(old)):
                continue
            yield name

    def _fits_in_place(self, name: str) -> bool:
        old, new = self.real.facts[name], self.wanted.facts[name]
        if old.kind in {"comment", "default", "table", "type"}:
            return True
        if old.kind == "column":
            return old.shape == new.shape == "plain"
        return old.kind == "routine" and old.shape == new.shape

    def _in_the_way(self) -> set[str]:
        """Return what must go and come again for another's sake."""
        dependents = _reversed(self.real.needs)
        retyped = [name for name in self.in_place if self.real.facts[name].kind == "column"]
        queue = [*self.goes]
        for name in retyped:
            queue += [user for user in dependents[name] if self._blocks_new_type(user)]
        found = set(queue) - self.goes
        while queue:
            for dependent in dependents[queue.pop()]:
                if dependent not in found and _can_come_again(self.real.facts[dependent]):
                    found.add(dependent)
                    queue.append(dependent)
        return {name for name in found if not self.structure.unmakes(self.real.facts[name])}

    def _blocks_new_type(self, name: str) -> bool:
        fact = self.real.facts[name]
        return fact.kind in _BLOCKS_NEW_TYPE and _can_come_again(fact)

    # Order

    def _departures(self) -> list[str]:
        return list(reversed(_ordered(self.goes, self.real)))

    def _is_late(self, name: str) -> bool:
        """Tell whether it goes after the tables: nothing takes its place, and they may use it."""
        return self.real.facts[name].kind in _FOUNDATIONS and name not in self.comes

    def _early(self) -> set[str]:
        """Return what comes before the tables: foundations, but not routines made of tables."""
        coming = self.comes | self.in_place
        return {
            name
            for name in coming
            if self.wanted.facts[name].kind in _FOUNDATIONS
            and not any(
                self.wanted.facts[needed].relation for needed in _all_needs(name, self.wanted)
            )
        }

    # Steps

    def _removal(self, name: str) -> Step:
        fact = self.real.facts[name]
        change = "remove" if name in self.changed else "again"
        goes_with = _goes_with(fact, self.real, self.goes, self.structure.dropped)
        return Step(change, name, fact.definition, () if goes_with else fact.drop, fact.create)

    def _arrivals(self, names: Collection[str], outside: list[Step]) -> list[Step]:
        found: list[Step] = []
        for name in _ordered(names, self.wanted):
            if name in self.in_place:
                found.append(_change(self.real.facts[name], self.wanted.facts[name]))
            else:
                inside, later = self._addition(name)
                found.append(inside)
                outside += later
        return [step for step in found if step.upgrade or step.downgrade]

    def _addition(self, name: str) -> tuple[Step, list[Step]]:
        """Return the step inside the transaction, and what is better done after it."""
        fact = self.wanted.facts[name]
        change = "add" if name in self.changed else "again"
        goes_with = _goes_with(fact, self.wanted, self.comes, self.structure.created)
        step = Step(change, name, fact.definition, fact.create, () if goes_with else fact.drop)
        if not self._reads_all_rows(fact):
            return step, []
        if fact.kind == "index":
            # A failed attempt leaves an invalid index behind: the second one starts with a drop.
            retry = fact.drop[0].replace("DROP INDEX", "DROP INDEX IF EXISTS", 1)
            create = _PLAIN_INDEX.sub(r"CREATE \1INDEX CONCURRENTLY ", fact.create[0])
            return replace(step, upgrade=(), downgrade=()), [replace(step, upgrade=(retry, create))]
        unchecked = f"{fact.create[0]} NOT VALID"
        validate = fact.drop[0].replace(" DROP CONSTRAINT ", " VALIDATE CONSTRAINT ", 1)
        return replace(step, upgrade=(unchecked,)), [
            replace(step, upgrade=(validate,), downgrade=(*fact.drop, unchecked))
        ]

    def _reads_all_rows(self, fact: Fact) -> bool:
        """Tell whether PostgreSQL would read a stored table under a lock to make `fact` true."""
        table = self.real.facts.get(f"table {fact.relation}")
        if fact.kind not in {"index", "check", "foreign key"} or table is None:
            return False
        if f"time series on table {fact.relation}" in self.real.facts:
            return False
        is_checked = not fact.definition.endswith((" NOT VALID", " NOT ENFORCED"))
        # Partitioned tables and hypertables can do neither CONCURRENTLY nor NOT VALID for keys.
        return is_checked and table.definition == "TABLE"


def _goes_with(
    fact: Fact, where: Snapshot, moving: Collection[str], tables: Collection[str]
) -> bool:
    """Tell whether a fact goes by itself when what it belongs to goes."""
    if fact.kind in {"view", "foreign key"}:
        return False
    owners = {f"view {fact.relation}", f"materialized view {fact.relation}"}
    if fact.is_remark:
        owners |= where.needs[fact.name]
    # What it needs besides may be dropped first: a trigger's function.
    others = where.needs[fact.name] & set(moving) - owners
    return not others and (fact.relation in tables or not owners.isdisjoint(moving))


def _change(old: Fact, new: Fact) -> Step:
    return Step("change", new.name, new.definition, _in_place(old, new), _in_place(new, old))


def _in_place(old: Fact, new: Fact) -> tuple[str, ...]:
    if new.kind == "column":
        column = quoted(new.column or "")
        cast = new.definition.partition(" COLLATE ")[0]
        alter = f"ALTER TABLE {new.relation} ALTER COLUMN {column} TYPE {new.definition}"
        return (f"{alter} USING {column}::{cast}",)
    if new.kind == "type" and (labels := _added_labels(old, new)):
        return labels
    if new.kind in {"table", "type"}:
        # What becomes of the rows only a person can say; the migration refuses to run as it is.
        sentence = f"{new.name} is {old.definition}, to be {new.definition}: write how"
        return (f"DO $do$ BEGIN RAISE EXCEPTION USING MESSAGE = {literal(sentence)}; END $do$",)
    return new.create


def _added_labels(old: Fact, new: Fact) -> tuple[str, ...]:
    """Return the statements that add labels to an enum; none when labels also go or move."""
    before, after = _LABEL.findall(old.definition), _LABEL.findall(new.definition)
    if new.shape != "e" or [label for label in after if label in before] != before:
        return ()
    name = new.name.removeprefix("type ")
    statements = []
    for previous, label in zip([None, *after], after, strict=False):
        if label not in before:
            place = f"AFTER {previous}" if previous else f"BEFORE {before[0]}"
            statements.append(f"ALTER TYPE {name} ADD VALUE {label} {place}")
    return tuple(statements)


def _can_come_again(fact: Fact) -> bool:
    """Tell whether a fact can be removed and added without losing rows."""
    return fact.kind not in _FOUNDATIONS | {"table", "column"} or (
        fact.kind == "routine" or fact.shape == "generated"
    )


def _all_needs(name: str, where: Snapshot) -> set[str]:
    found: set[str] = set()
    queue = [name]
    while queue:
        needed = where.needs[queue.pop()] - found
        found |= needed
        queue += needed
    return found


def _reversed(needs: dict[str, frozenset[str]]) -> defaultdict[str, set[str]]:
    dependents: defaultdict[str, set[str]] = defaultdict(set)
    for name, needed in needs.items():
        for one in needed:
            dependents[one].add(name)
    return dependents


def _ordered(names: Collection[str], where: Snapshot) -> list[str]:
    """Return `names` so that each comes after what it needs, by kind and name where free."""
    waits = {name: len(where.needs[name] & set(names)) for name in names}
    dependents = _reversed({name: where.needs[name] for name in names})
    ready = [_rank(where.facts[name]) for name in names if not waits[name]]
    heapq.heapify(ready)
    found: list[str] = []
    while ready:
        name = heapq.heappop(ready)[1]
        found.append(name)
        for dependent in dependents[name]:
            waits[dependent] -= 1
            if not waits[dependent]:
                heapq.heappush(ready, _rank(where.facts[dependent]))
    circle = set(names) - set(found)
    return found + sorted(circle, key=lambda name: _rank(where.facts[name]))


def _rank(fact: Fact) -> tuple[int, str]:
    return _KINDS.index(fact.kind), fact.name
