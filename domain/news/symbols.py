"""Finds the instruments that a feed names by ticker."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, literal, select

from domain.db.unit import UnitOfWork
from domain.market.models import Instrument, InstrumentStatus


async def instruments_named(unit: UnitOfWork, symbols: Iterable[str]) -> Mapping[str, UUID]:
    """Return the id behind each ticker that names exactly one instrument that trades.

    A ticker that several markets share names none: link by id instead.
    """
    wanted = sorted({symbol for symbol in symbols if "\x00" not in symbol})
    if not wanted:
        return {}
    statement = select(Instrument.symbol, Instrument.id).where(
        Instrument.symbol == any_(literal(wanted, ARRAY(Text()))),
        Instrument.status == InstrumentStatus.ACTIVE,
    )
    found: dict[str, list[UUID]] = defaultdict(list)
    for symbol, instrument_id in await unit.session.execute(statement):
        found[symbol].append(instrument_id)
    return {symbol: ids[0] for symbol, ids in found.items() if len(ids) == 1}
