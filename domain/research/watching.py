"""Watchlists as lists of symbols: in and out, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, literal
from sqlalchemy.dialects.postgresql import insert

from domain.clock import now
from domain.db.bulk import none_of
from domain.db.unit import Unit, UnitOfWork
from domain.market.models import Instrument
from domain.research.models import Watchlist, WatchlistItem
from domain.research.naming import checked_title, instrument_named, owner_of
from domain.research.repositories import WatchlistItemRepository, WatchlistRepository


@dataclass(frozen=True, slots=True)
class Listed:
    """A watchlist with what is on it.

    Args:
        watchlist: The list.
        symbols: Symbols in the list's order.
        items: The items with their instruments, in the same order.
    """

    watchlist: Watchlist
    symbols: Sequence[str]
    items: Sequence[WatchlistItem]


async def get_watchlist(unit: Unit, name: str) -> Listed | None:
    """Return a list by name with its symbols, or None."""
    watchlist = await unit.repository(WatchlistRepository).by_name(name)
    return None if watchlist is None else await _listed(unit, watchlist)


async def list_watchlists(unit: Unit) -> Sequence[Listed]:
    """Return all lists by name with their symbols."""
    watchlists = await unit.repository(WatchlistRepository).listed()
    return [await _listed(unit, watchlist) for watchlist in watchlists]


async def update_watchlist(
    unit: UnitOfWork,
    name: str,
    symbols: Sequence[str | Instrument],
    *,
    description: str | None = None,
    user_id: UUID | None = None,
) -> Listed:
    """Make a list hold these symbols in this order; makes the list when it is new.

    Symbols that stay keep their notes and target prices. A symbol given twice counts once, where
    it stands first. Writers of one list wait for each other.

    Args:
        unit: A tenant's unit, or a trusted one.
        name: The list.
        symbols: Symbols, or instruments where several markets have a symbol.
        description: What it is for; None leaves what is there.
        user_id: The owner, in a unit without tenant.

    Raises:
        InvalidData: A symbol is unknown: nothing is changed.
    """
    owner, title = owner_of(unit, user_id), checked_title(name)
    known = await _known(unit, owner, title)
    wanted: dict[UUID, Instrument] = {}
    for symbol in symbols:
        instrument = symbol if isinstance(symbol, Instrument) else known.get(symbol)
        instrument = instrument or await instrument_named(unit, str(symbol))
        wanted.setdefault(instrument.id, instrument)
    watchlist = await _upserted(unit, owner, title, description)
    await _replace_items(unit, watchlist, list(wanted))
    return await _listed(unit, watchlist)


async def _known(unit: Unit, owner: UUID, name: str) -> Mapping[str, Instrument]:
    """Return the instruments of the list as it is: a symbol on it goes on meaning the same."""
    lists = unit.repository(WatchlistRepository)
    mine = lists.query(Watchlist.user_id == owner, Watchlist.name == name)
    watchlist = await lists.first(mine)
    if watchlist is None:
        return {}
    items = await unit.repository(WatchlistItemRepository).of(watchlist)
    return {item.instrument.symbol: item.instrument for item in items}


async def _upserted(unit: UnitOfWork, owner: UUID, name: str, description: str | None) -> Watchlist:
    new = insert(Watchlist).values(user_id=owner, name=name, description=description)
    changes: dict[str, Any] = {"version": Watchlist.version + 1, "updated_at": now()}
    if description is not None:
        changes["description"] = description
    upsert = new.on_conflict_do_update(index_elements=["user_id", "name"], set_=changes)
    found = await unit.session.scalars(
        upsert.returning(Watchlist), execution_options={"populate_existing": True}
    )
    return found.one()


async def _replace_items(unit: UnitOfWork, watchlist: Watchlist, ids: Sequence[UUID]) -> None:
    items = unit.repository(WatchlistItemRepository)
    of_list = WatchlistItem.watchlist_id == literal(watchlist.id, Uuid())
    await items.delete_where(of_list, WatchlistItem.instrument_id != none_of(ids))
    rows = [
        {
            "watchlist_id": watchlist.id,
            "user_id": watchlist.user_id,
            "instrument_id": key,
            "sort_order": place,
        }
        for place, key in enumerate(ids)
    ]
    if rows:
        key = ["watchlist_id", "instrument_id"]
        await items.upsert_many(rows, key=key, update=["sort_order"])
    for item in unit.session.identity_map.values():
        if isinstance(item, WatchlistItem) and item.watchlist_id == watchlist.id:
            unit.session.expire(item)


async def _listed(unit: Unit, watchlist: Watchlist) -> Listed:
    items = await unit.repository(WatchlistItemRepository).of(watchlist)
    return Listed(watchlist, [item.instrument.symbol for item in items], items)
