"""What the journal says about the trader: by setup, by tag, in units of risk.

Counted are entries about trades whose profit is known, in one currency each: profits in different
currencies are never added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, Text, func, literal, select

from domain.db.unit import Unit
from domain.errors import InvalidData
from domain.journal.models import EntryTag, JournalEntry, Setup, Tag
from domain.journal.terms import EntryKind, TagCategory
from domain.money import checked, exact

HALF_R: Final = Decimal("0.5")

# Grouped by this label: an expression with a parameter would be another one each time it stands.
_GROUP: Final = "group_name"


@dataclass(frozen=True, slots=True)
class Performance:
    """How trades of one group went.

    Args:
        name: The setup or tag; empty for all, or where none is set.
        currency: Currency of the amounts; None where entries name none.
        trades: How many.
        wins: How many made money.
        losses: How many lost money; the others came out even.
        net_pnl: Profit after fees.
        gross_win: Sum of the profits.
        gross_loss: Sum of the losses, at most 0.
        net_r: Sum of the R-multiples of those that have one.
        trades_with_r: How many have one.
    """

    name: str
    currency: str | None
    trades: int
    wins: int
    losses: int
    net_pnl: Decimal
    gross_win: Decimal
    gross_loss: Decimal
    net_r: Decimal
    trades_with_r: int

    @property
    def win_ratio(self) -> Decimal:
        """Wins among all trades, 0 to 1."""
        return _divided(Decimal(self.wins), self.trades)

    @property
    def average_win(self) -> Decimal | None:
        """Mean profit of the wins."""
        return _divided(self.gross_win, self.wins) if self.wins else None

    @property
    def average_loss(self) -> Decimal | None:
        """Mean loss of the losses, negative."""
        return _divided(self.gross_loss, self.losses) if self.losses else None

    @property
    def expectancy(self) -> Decimal:
        """Mean profit of a trade: win ratio * average win + loss ratio * average loss.

        Source: Van K. Tharp, Trade Your Way to Financial Freedom, chapter 7.
        """
        return _divided(self.net_pnl, self.trades)

    @property
    def expectancy_r(self) -> Decimal | None:
        """Mean R-multiple of the trades that have one."""
        return _divided(self.net_r, self.trades_with_r) if self.trades_with_r else None

    @property
    def profit_factor(self) -> Decimal | None:
        """Gross win for one unit of gross loss; None without a loss."""
        with exact():
            return self.gross_win / -self.gross_loss if self.gross_loss else None


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many trades had an R-multiple with ``start <= r < end``."""

    start: Decimal
    end: Decimal
    trades: int


async def performance(unit: Unit, *where: ColumnElement[bool]) -> Sequence[Performance]:
    """Return how all trades went, one row a currency.

    Args:
        unit: A tenant's unit.
        *where: Conditions on `JournalEntry`, for example a span of `entry_on`.
    """
    return await _performance(unit, literal("", Text()), _counted(unit, *where))


async def performance_by_setup(unit: Unit, *where: ColumnElement[bool]) -> Sequence[Performance]:
    """Return how each setup went, by name; entries without setup have an empty one."""
    name = func.coalesce(Setup.name, "")
    joined = _counted(unit, *where).outerjoin(Setup, Setup.id == JournalEntry.setup_id)
    return await _performance(unit, name, joined)


async def performance_by_tag(
    unit: Unit, *where: ColumnElement[bool], category: TagCategory | None = None
) -> Sequence[Performance]:
    """Return how the trades with each tag went, by name; a trade counts for each of its tags."""
    joined = (
        _counted(unit, *where)
        .join(EntryTag, EntryTag.entry_id == JournalEntry.id)
        .join(Tag, Tag.id == EntryTag.tag_id)
    )
    if category is not None:
        joined = joined.where(Tag.category == category)
    return await _performance(unit, Tag.name, joined)


async def r_distribution(
    unit: Unit, *where: ColumnElement[bool], width: Decimal = HALF_R
) -> Sequence[Bucket]:
    """Return how R-multiples are spread, lowest bucket first; empty buckets between are kept.

    Args:
        unit: A tenant's unit.
        *where: Conditions on `JournalEntry`.
        width: Width of a bucket in R, positive.

    Raises:
        InvalidData: `width` is not positive.
    """
    if checked(width, "width") <= 0:
        raise InvalidData("width", str(width), "be positive")
    place = func.floor(JournalEntry.r_multiple / width)
    counted = _counted(unit, *where, JournalEntry.r_multiple.is_not(None))
    statement = counted.add_columns(place.label("place"), func.count()).group_by("place")
    found = {int(row[0]): int(row[1]) for row in await unit.session.execute(statement)}
    if not found:
        return ()
    places = range(min(found), max(found) + 1)
    return [Bucket(at * width, (at + 1) * width, found.get(at, 0)) for at in places]


def _counted(unit: Unit, *where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    statement = select().select_from(JournalEntry)
    if unit.user_id is not None:
        statement = statement.where(JournalEntry.user_id == unit.user_id)
    known = (JournalEntry.kind == EntryKind.TRADE, JournalEntry.pnl.is_not(None))
    return statement.where(*known, *where)


async def _performance(
    unit: Unit, name: SQLColumnExpression[str], statement: Select[*tuple[Any, ...]]
) -> Sequence[Performance]:
    pnl, r = JournalEntry.pnl, JournalEntry.r_multiple
    grouped = statement.add_columns(
        name.label(_GROUP),
        JournalEntry.currency,
        func.count(),
        func.count().filter(pnl > 0),
        func.count().filter(pnl < 0),
        func.sum(pnl),
        func.coalesce(func.sum(pnl).filter(pnl > 0), 0),
        func.coalesce(func.sum(pnl).filter(pnl < 0), 0),
        func.coalesce(func.sum(r), 0),
        func.count(r),
    ).group_by(_GROUP, JournalEntry.currency)
    found = await unit.session.execute(grouped.order_by(_GROUP, JournalEntry.currency))
    return [_row(row) for row in found]


def _row(row: Row[*tuple[Any, ...]]) -> Performance:
    name, currency, trades, wins, losses, *amounts, with_r = row
    net, gross_win, gross_loss, net_r = (Decimal(amount) for amount in amounts)
    counts = {"trades": trades, "wins": wins, "losses": losses, "trades_with_r": with_r}
    return Performance(
        name=name,
        currency=currency,
        net_pnl=net,
        gross_win=gross_win,
        gross_loss=gross_loss,
        net_r=net_r,
        **counts,
    )


def _divided(total: Decimal, count: int) -> Decimal:
    with exact():
        return total / count if count else Decimal(0)
