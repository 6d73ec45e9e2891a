"""How an area declares an answer that may be cached: its key, its tier, what makes it stale.

An area's ``cached.py`` holds such declarations::

    @cached(tier=Tier.WARM, stale_by=[Rows(Portfolio, portfolio_id="id"),
                                      Rows(Position, portfolio_id="portfolio_id")])
    async def portfolio_overview(unit: ReadUnit, portfolio_id: UUID) -> PortfolioOverview | None:
        ...

The parameters after the unit are the key. `Rows` says which columns of a row that is written name
the key: all of them name one answer; some of them name a group of answers.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, get_type_hints

from sqlalchemy import Column, Table
from sqlalchemy import inspect as mapping_of

from domain.cache.codec import Codec
from domain.cache.keys import Keyspace, Part, written
from domain.db.orm import Base
from domain.db.unit import ReadUnit
from domain.errors import InvalidData

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U", bound=ReadUnit)

USER: Final = "user_id"


class Tier(StrEnum):
    """How long an answer may live that no commit takes out; seconds are settings."""

    HOT = "hot"
    """Seconds: prices."""
    WARM = "warm"
    """Minutes: portfolios, positions, leaderboards."""
    COLD = "cold"
    """Hours to a day: what a company is."""
    SESSION = "session"
    """A day: who somebody is."""
    ANALYSIS = "analysis"
    """A quarter to half an hour: what was concluded."""


class Audience(StrEnum):
    """Whose answer it is, which decides the rows that its loader sees."""

    OWNER = "owner"
    """One user's: the key begins with the user, and row-level security shows its rows only."""
    EVERYBODY = "everybody"
    """The same for all: the loader sees no owned row at all."""
    SYSTEM = "system"
    """For trusted code, such as finding out who a token belongs to: the loader sees all rows."""


@dataclass(frozen=True)
class Rows:
    """Rows that make an answer stale when they are inserted, changed or deleted.

    Args:
        model: The model.
        **key: For parameters of the answer the attribute of the row that holds them. An owner's
            answer needs not name ``user_id``.
    """

    model: type[Base]
    key: Mapping[str, str]
    ignored: frozenset[str] = frozenset()

    def __init__(self, model: type[Base], **key: str) -> None:
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "key", key)

    def ignoring(self, *attributes: str) -> "Rows":
        """Return these rows, but an UPDATE of nothing except `attributes` makes nothing stale.

        The loader must not read them, nor columns that the server generates from them. What the
        mapper changes by itself, ``updated_at`` and ``version``, is named like the rest.

        Raises:
            InvalidData: The model has no such attribute.
        """
        known = mapping_of(self.model).column_attrs
        for name in attributes:
            if name not in known:
                raise InvalidData("ignoring", name, f"be an attribute of {self.model.__name__}")
        columns = frozenset(_column(known[name]).name for name in attributes)
        rows = Rows(self.model, **self.key)
        object.__setattr__(rows, "ignored", columns)
        return rows

    @property
    def table(self) -> Table:
        """The model's table."""
        table = mapping_of(self.model).local_table
        assert isinstance(table, Table)  # noqa: S101 - declarative models map tables
        return table

    def columns(self, audience: Audience) -> dict[str, str]:
        """Return the columns that hold parameters, by parameter.

        Raises:
            InvalidData: The model has no such attribute.
        """
        attributes = mapping_of(self.model).column_attrs
        found = {}
        for parameter, name in self.key.items():
            if name not in attributes:
                raise InvalidData(parameter, name, f"be an attribute of {self.model.__name__}")
            found[parameter] = _column(attributes[name]).name
        if audience is Audience.OWNER and USER in attributes:
            found[USER] = _column(attributes[USER]).name
        return found


def _column(attribute: Any) -> Column[Any]:
    column: Column[Any] = attribute.columns[0]
    return column


@dataclass(eq=False)
class CachedRead(Generic[P, T]):
    """A declared answer.

    Args:
        name: Its name in keys, tags and statistics.
        tier: How long it may live.
        audience: Whose it is.
        parameters: What its key is made of, in order; begins with ``user_id`` for an owner's.
        stale_by: What makes it stale.
        codec: Its written form.
        load: Makes it, from a unit.
        groups: The groups of answers that it goes stale with, by the parameters they share.
    """

    name: str
    tier: Tier
    audience: Audience
    parameters: tuple[str, ...]
    stale_by: tuple[Rows, ...]
    codec: Codec[T]
    load: Callable[Concatenate[Any, P], Awaitable[T]]
    groups: tuple[tuple[str, ...], ...] = ()

    def key(self, keyspace: Keyspace, given: Mapping[str, Part]) -> str:
        """Return the key of the answer for all parameters."""
        return keyspace.entry(self.tier, self.name, [given[name] for name in self.parameters])

    def tags(self, keyspace: Keyspace, given: Mapping[str, Part]) -> tuple[str, ...]:
        """Return the keys of the groups that the answer for these parameters belongs to."""
        return tuple(self.tag(keyspace, group, given) for group in self.groups)

    def tag(self, keyspace: Keyspace, group: Sequence[str], given: Mapping[str, Part]) -> str:
        """Return the key of the answers that share these values of the parameters `group`."""
        named = ",".join(f"{name}={written(given[name])}" for name in group)
        return keyspace.tag(self.name, named or None)

    def group_of(self, given: Mapping[str, Part]) -> tuple[str, ...]:
        """Return the group that these parameters name.

        Raises:
            InvalidData: They name none.
        """
        for group in self.groups:
            if set(group) == given.keys():
                return group
        choices = [", ".join(group) or "nothing" for group in (*self.groups, self.parameters)]
        raise InvalidData(self.name, sorted(given), f"be named by: {' | '.join(choices)}")

    def bind(self, user: Part, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Part]:
        """Return the parameters by name.

        Raises:
            InvalidData: One is missing or too many, or an owner's answer was asked for nobody.
        """
        own = self.parameters[1:] if self.audience is Audience.OWNER else self.parameters
        if len(args) + len(kwargs) != len(own) or not kwargs.keys() <= set(own[len(args) :]):
            raise InvalidData(self.name, [*args, *kwargs], f"be asked by {', '.join(own)}")
        given: dict[str, Part] = dict(zip(own, args, strict=False)) | dict(kwargs)
        if self.audience is Audience.OWNER:
            if user is None:
                raise InvalidData(self.name, None, "be asked for a user: db.cached(user=…)")
            given[USER] = user
        return given


DECLARED: Final[dict[str, CachedRead[Any, Any]]] = {}
"""Every declared answer, by name."""


def cached(
    *, tier: Tier, stale_by: Sequence[Rows], audience: Audience = Audience.OWNER
) -> Callable[[Callable[Concatenate[U, P], Awaitable[T]]], CachedRead[P, T]]:
    """Declare that the answer of a function may be cached; its name is the answer's name.

    Args:
        tier: How long it may live that no commit takes out.
        stale_by: The rows that make it stale. An answer is as fresh as this list is complete.
        audience: Whose it is.

    Raises:
        InvalidData: The name is taken, a parameter or an attribute does not exist.
    """

    def declare(load: Callable[Concatenate[U, P], Awaitable[T]]) -> CachedRead[P, T]:
        name = load.__name__
        if name in DECLARED:
            raise InvalidData("name", name, "be declared once")
        own = tuple(inspect.signature(load).parameters)[1:]
        parameters = (USER, *own) if audience is Audience.OWNER else own
        read: CachedRead[P, T] = CachedRead(
            name=name,
            tier=tier,
            audience=audience,
            parameters=parameters,
            stale_by=tuple(stale_by),
            codec=Codec(get_type_hints(load)["return"]),
            load=load,
            groups=_groups(audience, parameters, stale_by),
        )
        DECLARED[name] = read
        return read

    return declare


def also_stale_by(read: CachedRead[Any, Any], *rows: Rows) -> None:
    """Let more rows make an answer stale: for a layer above, whose rows its area does not know.

    Call it where the areas are put together, before the first `Cache` is built.

    Raises:
        InvalidData: A parameter or an attribute does not exist.
    """
    stale_by = (*read.stale_by, *rows)
    read.groups = _groups(read.audience, read.parameters, stale_by)
    read.stale_by = stale_by


def _groups(
    audience: Audience, parameters: tuple[str, ...], stale_by: Sequence[Rows]
) -> tuple[tuple[str, ...], ...]:
    """Return the groups of an answer: all of them, its user's, and those that rows name."""
    groups: dict[tuple[str, ...], None] = {(): None}
    if audience is Audience.OWNER:
        groups[USER,] = None
        # Staff write rows by their key and name no owner.
        groups[parameters[1:]] = None
    for rows in stale_by:
        named = rows.columns(audience)
        if unknown := named.keys() - set(parameters):
            raise InvalidData("stale_by", sorted(unknown), f"name parameters: {parameters}")
        group = tuple(name for name in parameters if name in named)
        if group != parameters:
            groups[group] = None
    return tuple(groups)
