"""Writes the journal: entries, their links to trades, their tags."""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from domain.db import bulk
from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.journal.models import EntryTag, EntryTrade, JournalEntry, Tag
from domain.journal.profit import refresh_profit, require_one_currency
from domain.journal.repositories import (
    EntryTagRepository,
    EntryTradeRepository,
    TagRepository,
)
from domain.journal.terms import TagCategory, TradeRole
from domain.trading.models import Lot, LotClosure, Position, Trade

_TEXTS: Final = ("title", "strategy", "emotion", "thesis", "notes", "lessons")
_LONGEST_TITLE: Final = 200
_LONGEST_TAG: Final = 50
_BEST: Final = 5


async def record_entry(
    unit: UnitOfWork,
    entry: JournalEntry,
    *,
    trades: Sequence[Trade] = (),
    tags: Iterable[str] = (),
) -> JournalEntry:
    """Write an entry with its links and tags.

    Args:
        unit: A unit of the entry's owner, or a trusted one.
        entry: A new entry; profit is typed only when neither trades nor a position are given.
        trades: The trades it describes; their roles are told from what they opened and closed.
        tags: Names of general tags; missing ones are made.

    Raises:
        InvalidData: A value breaks a rule, or profit was typed although the ledger knows it.

    Example:
        entry = await record_entry(unit, JournalEntry(user_id=user_id, entry_on=date(2024, 1, 2),
            thesis="Breakout above 190", initial_risk=Decimal(50)), trades=[bought, sold])
    """
    check_entry(entry)
    if entry.position_id is not None:
        _require_no_typed_profit(entry)
    unit.session.add(entry)
    await unit.flush()
    if trades:
        await link_trades(unit, entry, trades)
    elif entry.position_id is not None:
        await refresh_profit(unit, [entry])
    await tag_entry(unit, entry, tags)
    return entry


def check_entry(entry: JournalEntry) -> None:
    """Check what the database would refuse, with words for people.

    Raises:
        InvalidData: A value breaks a rule.
    """
    for name in _TEXTS:
        if "\x00" in (getattr(entry, name) or ""):
            raise InvalidData(name, getattr(entry, name), "hold no NUL character")
    if entry.title is not None and not 1 <= len(entry.title) <= _LONGEST_TITLE:
        raise InvalidData("title", entry.title, f"have 1 to {_LONGEST_TITLE} characters")
    if entry.rating is not None and not 1 <= entry.rating <= _BEST:
        raise InvalidData("rating", entry.rating, f"lie between 1 and {_BEST}")
    if entry.initial_risk is not None and entry.initial_risk <= 0:
        raise InvalidData("initial_risk", str(entry.initial_risk), "be positive")
    if not isinstance(entry.legs, list):
        raise InvalidData("legs", entry.legs, "be a list")
    _check_exit(entry)


def _check_exit(entry: JournalEntry) -> None:
    if entry.exit_on is not None and entry.exit_on < entry.entry_on:
        raise InvalidData("exit_on", entry.exit_on.isoformat(), "not lie before entry_on")
    if entry.exit_at is not None and entry.entry_at is not None and entry.exit_at < entry.entry_at:
        raise InvalidData("exit_at", entry.exit_at.isoformat(), "not lie before entry_at")
    if entry.exit_price is not None and entry.exit_on is None:
        raise InvalidData("exit_on", None, "be given with an exit price")


def _require_no_typed_profit(entry: JournalEntry) -> None:
    for name in ("pnl", "pnl_percent", "fees"):
        value = getattr(entry, name)
        if value is not None and entry.pnl_source != "ledger":
            raise InvalidData(name, str(value), "be empty: the ledger knows the linked trades")


# ── trades ───────────────────────────────────────────────────────────────────────────────────────


async def link_trades(
    unit: UnitOfWork,
    entry: JournalEntry,
    trades: Sequence[Trade],
    *,
    role: TradeRole | None = None,
    leg: int | None = None,
) -> None:
    """Link trades to an entry; from now on its profit is the ledger's.

    Args:
        unit: A unit of the entry's owner, or a trusted one.
        entry: The entry.
        trades: Trades of the same owner; one that is linked already gets the new role.
        role: What they did for the idea; default: told from what they opened and closed.
        leg: Number of the structure's leg, from 1.

    Raises:
        InvalidData: Profit was typed, the trades are somebody else's or of several currencies.
    """
    if not trades:
        return
    _require_no_typed_profit(entry)
    for trade in trades:
        if trade.user_id != entry.user_id:
            raise InvalidData("trades", str(trade.id), "belong to the entry's owner")
    await unit.flush()
    await require_one_currency(unit, entry, trades)
    of_entry = {"entry_id": entry.id, "user_id": entry.user_id, "leg": leg}
    roles = dict.fromkeys(_ids(trades), role) if role else await _roles(unit, trades)
    await unit.repository(EntryTradeRepository).upsert_many(
        [{"trade_id": key, "role": played, **of_entry} for key, played in roles.items()],
        key=["entry_id", "trade_id"],
        update=["role", "leg"],
    )
    await refresh_profit(unit, [entry])


async def _roles(unit: UnitOfWork, trades: Sequence[Trade]) -> dict[UUID, TradeRole]:
    """Return what each trade did: the first that opened sets the direction of the idea."""
    ids = any_of(_ids(trades))
    opening = select(Lot.opening_trade_id).where(Lot.opening_trade_id == ids)
    closing = select(LotClosure.closing_trade_id).where(LotClosure.closing_trade_id == ids)
    opened = set((await unit.session.scalars(opening)).all())
    closed = set((await unit.session.scalars(closing)).all())
    first = min(trades, key=lambda trade: (trade.executed_at, trade.sequence))
    if first.id not in opened or (first.id in closed and len(trades) == 1):
        return {key: TradeRole.EXIT if key in closed else TradeRole.ENTRY for key in _ids(trades)}
    same_side = {trade.id for trade in trades if trade.side == first.side}
    roles = {
        key: TradeRole.SCALE_IN if key in same_side else TradeRole.EXIT for key in _ids(trades)
    }
    return roles | {first.id: TradeRole.ENTRY}


def _ids(trades: Iterable[Trade]) -> list[UUID]:
    return [trade.id for trade in trades]


async def unlink_trades(unit: UnitOfWork, entry: JournalEntry, trades: Iterable[Trade]) -> int:
    """Take links away; return how many. Without any link profit is empty and may be typed."""
    links = unit.repository(EntryTradeRepository)
    removed = await links.delete_where(
        EntryTrade.entry_id == entry.id, EntryTrade.trade_id == any_of(_ids(trades))
    )
    await refresh_profit(unit, [entry])
    return removed


async def link_position(unit: UnitOfWork, entry: JournalEntry, position: Position | None) -> None:
    """Make an entry about a whole position cycle, or about none.

    Raises:
        InvalidData: Profit was typed, the position is somebody else's or in another currency.
    """
    if position is not None:
        _require_no_typed_profit(entry)
        if position.user_id != entry.user_id:
            raise InvalidData("position", str(position.id), "belong to the entry's owner")
    entry.position_id = None if position is None else position.id
    await unit.flush()
    await require_one_currency(unit, entry, ())
    await refresh_profit(unit, [entry])


# ── tags ─────────────────────────────────────────────────────────────────────────────────────────


async def tag_entry(
    unit: UnitOfWork,
    entry: JournalEntry,
    names: Iterable[str],
    *,
    category: TagCategory = TagCategory.GENERAL,
) -> Sequence[Tag]:
    """Put tags on an entry and return them; missing tags are made, case does not matter.

    Raises:
        InvalidData: A name is empty or longer than 50 characters.
    """
    tags = await tags_named(unit, entry.user_id, names, category=category)
    rows = [{"user_id": entry.user_id, "entry_id": entry.id, "tag_id": tag.id} for tag in tags]
    if rows:
        await unit.repository(EntryTagRepository).upsert_many(
            rows, key=["entry_id", "tag_id"], update=[]
        )
    return tags


async def untag_entry(unit: UnitOfWork, entry: JournalEntry, tags: Iterable[Tag]) -> int:
    """Take tags off an entry; return how many it had."""
    return await unit.repository(EntryTagRepository).delete_where(
        EntryTag.entry_id == entry.id, EntryTag.tag_id == any_of(tag.id for tag in tags)
    )


async def tags_named(
    unit: UnitOfWork, user_id: UUID, names: Iterable[str], *, category: TagCategory
) -> Sequence[Tag]:
    """Return a user's tags of these names by name, missing ones made.

    Raises:
        InvalidData: A name is empty or longer than 50 characters.
    """
    wanted = list(dict.fromkeys(_checked_tag(name) for name in names))
    if not wanted:
        return ()
    rows: list[dict[str, Any]] = [
        {"user_id": user_id, "name": name, "category": category} for name in wanted
    ]
    await bulk.insert_new(unit.session, Tag, rows, key=None)
    statement = unit.repository(TagRepository).query(
        Tag.user_id == user_id,
        Tag.category == category,
        # PostgreSQL lowers both sides: Python's rules for capitals differ.
        func.lower(Tag.name).in_([func.lower(name) for name in wanted]),
    )
    return (await unit.session.scalars(statement.order_by(Tag.name, Tag.id))).all()


def _checked_tag(name: str) -> str:
    stripped = name.strip()
    if not 1 <= len(stripped) <= _LONGEST_TAG or "\x00" in stripped:
        raise InvalidData("tag", name, f"have 1 to {_LONGEST_TAG} characters")
    return stripped


__all__ = [
    "check_entry",
    "link_position",
    "link_trades",
    "record_entry",
    "tag_entry",
    "tags_named",
    "unlink_trades",
    "untag_entry",
]
