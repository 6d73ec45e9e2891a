"""What a deletion takes along through all levels, what loses a reference, and what forbids it.

Read from the foreign keys, level by level: a table is followed only where rows of it refer to what
goes. Nothing is tried out: the preview writes nothing and locks nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    ForeignKeyConstraint,
    FromClause,
    Table,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from admin.addressing import identifier
from admin.records import REFERENCES, RecordView
from admin.translating import gettext
from domain.db.unit import Unit

_COUNTED: Final = 1_000
"""Enough to know that it is a lot; a full count would read every row."""
_NAMED: Final = 5
"""Obstacles of one table that are named."""
_DEEPEST: Final = 8
UNCONFIRMED: Final = 10
"""Records that may go along without typing the record's name."""

_Rows = Callable[[FromClause], ColumnElement[bool]]
"""Which rows of a table, said of the table or of an alias of it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one table.

    Args:
        label: What they are.
        number: How many, at most one more than are counted.
        named: (title, address below the admin) of the first ones, for obstacles.
    """

    label: str
    number: int
    named: Sequence[tuple[str, str]] = ()

    @property
    def count(self) -> str:
        """How many, in words."""
        if self.number <= _COUNTED:
            return f"{self.number:,}"
        return gettext("more than %(count)s", count=f"{_COUNTED:,}")


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a deletion means for others.

    Args:
        gone: What is deleted with it, through all levels.
        emptied: What stays and loses its reference.
        obstacles: What forbids it.
    """

    gone: Sequence[Group] = ()
    emptied: Sequence[Group] = ()
    obstacles: Sequence[Group] = ()

    @property
    def number(self) -> int:
        """How many records go along."""
        return sum(group.number for group in self.gone)

    @property
    def needs_name(self) -> bool:
        """Whether so many go along that the record's name must be typed."""
        return self.number > UNCONFIRMED


async def consequences_of(unit: Unit, view: RecordView, record: Any) -> Consequences:
    """Return what deleting `record` would do to others."""
    walk = _Walk(unit)
    own = {column.name: value for column, value in _key_values(view, record)}
    await walk.follow(view.table, lambda rows: and_(*(rows.c[n] == v for n, v in own.items())))
    return Consequences(
        gone=await walk.groups(walk.gone),
        emptied=await walk.groups(walk.emptied),
        obstacles=[
            Group(group.label, group.number, await _named(unit, table, walk.obstacle(table)))
            for table, group in await walk.obstacles()
        ],
    )


@dataclass
class _Walk:
    """Follows foreign keys from what is deleted to what refers to it."""

    unit: Unit
    gone: dict[Table, list[_Rows]] = field(default_factory=lambda: defaultdict(list))
    emptied: dict[Table, list[_Rows]] = field(default_factory=lambda: defaultdict(list))
    forbidding: dict[Table, list[_Rows]] = field(default_factory=lambda: defaultdict(list))

    async def follow(
        self, table: Table, rows: _Rows, path: tuple[ForeignKeyConstraint, ...] = ()
    ) -> None:
        """Note what refers to `rows` of a table, and what refers to that."""
        for key in _keys_to(table):
            child = key.table
            assert isinstance(child, Table)  # noqa: S101 - foreign keys are of tables
            referring = _referring(key, rows)
            if key in path or not await self._count(child, [referring]):
                continue
            rule = (key.ondelete or "").upper()
            if rule == "CASCADE":
                self.gone[child].append(referring)
                if len(path) < _DEEPEST:
                    await self.follow(child, referring, (*path, key))
            else:
                group = self.emptied if rule.startswith("SET NULL") else self.forbidding
                group[child].append(referring)

    async def groups(self, found: dict[Table, list[_Rows]]) -> list[Group]:
        """Return the tables with their counts, the most first."""
        groups = [Group(_called(table), await self._count(table, r)) for table, r in found.items()]
        return sorted(groups, key=lambda group: (-group.number, group.label))

    async def obstacles(self) -> list[tuple[Table, Group]]:
        """Return what forbids it: rows that refer to what goes, and do not go themselves."""
        counted = [
            (table, Group(_called(table), await self._count(table, [self.obstacle(table)])))
            for table in self.forbidding
        ]
        return sorted((pair for pair in counted if pair[1].number), key=lambda pair: pair[1].label)

    def obstacle(self, table: Table) -> _Rows:
        """Return the condition for the rows of a table that forbid the deletion."""
        forbidding, going = self.forbidding[table], self.gone.get(table, [])

        def condition(rows: FromClause) -> ColumnElement[bool]:
            refers = or_(*(one(rows) for one in forbidding))
            return and_(refers, ~or_(*(one(rows) for one in going))) if going else refers

        return condition

    async def _count(self, table: Table, conditions: Sequence[_Rows]) -> int:
        where = or_(*(condition(table) for condition in conditions))
        some = select(literal(1)).select_from(table).where(where).limit(_COUNTED + 1)
        counted = await self.unit.session.scalar(select(func.count()).select_from(some.subquery()))
        return counted or 0


def _referring(key: ForeignKeyConstraint, rows: _Rows) -> _Rows:
    """Return the condition for rows that refer by `key` to `rows`."""

    def condition(children: FromClause) -> ColumnElement[bool]:
        parent = key.referred_table.alias()
        own = tuple_(*(children.c[element.parent.name] for element in key.elements))
        theirs = (parent.c[element.column.name] for element in key.elements)
        return own.in_(select(*theirs).where(rows(parent)))

    return condition


async def _named(unit: Unit, table: Table, rows: _Rows) -> Sequence[tuple[str, str]]:
    view = REFERENCES.get(table.fullname)
    if view is None:
        return ()
    named = view.loading(list(view.relations().values()))
    found = view.rows(unit).query(rows(table)).options(*named).limit(_NAMED)
    return [
        (view.heading(record), f"/{view.identity}/details/{identifier(view, record)}")
        for record in await view.rows(unit).all(found)
    ]


def _called(table: Table) -> str:
    target = REFERENCES.get(table.fullname)
    return gettext(target.name_plural) if target else table.name.replace("_", " ")


def _key_values(view: RecordView, record: Any) -> Iterator[tuple[Any, Any]]:
    values = view.mapper.primary_key_from_instance(record)
    yield from zip(view.mapper.primary_key, values, strict=True)


def _keys_to(table: Table) -> Iterator[ForeignKeyConstraint]:
    for other in table.metadata.tables.values():
        for key in other.foreign_key_constraints:
            if key.referred_table is table:
                yield key
