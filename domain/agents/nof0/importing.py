"""Imports nof0's files: agents, prices, round trips, positions, equity, analyses, conversations.

Importing again changes nothing that was imported before and adds what is new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.agents.analysing import record_analytics
from domain.agents.nof0.booking import Books
from domain.agents.nof0.equity import book_equity, snapshots_of
from domain.agents.nof0.reading import read
from domain.agents.nof0.records import Price
from domain.agents.nof0.shapes import SOURCE
from domain.agents.nof0.talks import book_talks
from domain.db.unit import UnitOfWork
from domain.identity.models import User
from domain.market.ingesting import ingest_ticks
from domain.market.models import Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import added; what was there before is not counted.

    Args:
        agents: New agents.
        prices: Prices that were not known.
        trades: Trades booked: two for a round trip, one for an open position.
        busted: Provisional positions that are not open any more.
        snapshots: Equity snapshots written, known ones included.
        analyses: Analyses newer than the known ones, or as new.
        messages: Messages of conversations.
        ignored: Files that are none of nof0's, or not read.
    """

    agents: int
    prices: int
    trades: int
    busted: int
    snapshots: int
    analyses: int
    messages: int
    ignored: Sequence[str]


async def import_nof0(unit: UnitOfWork, user: User, files: Mapping[str, bytes]) -> Imported:
    """Book everything that nof0's files say, or nothing.

    Prices belong to nobody, so a tenant's unit may import files without them only.

    Args:
        unit: An open READ COMMITTED transaction of a trusted job, or of this user.
        user: Who will own the agents.
        files: Contents by name: `domain.agents.nof0.reading.read_folder` reads a folder.

    Raises:
        InvalidData: A file breaks a rule; the error names file, path, value and rule. Or an
            existing agent of this name trades a portfolio that does not hedge.
        ConflictingTrade: A round trip was imported before with other economics.
        AccessDenied: A tenant's unit, and files with prices.
    """
    archive = read(files)
    # Two imports for one user would make the same agents: the second waits, and finds them.
    await unit.lock_key(f"{SOURCE}|{user.id}")
    async with unit.session.begin_nested():
        books = await Books.open(unit, user, archive)
        prices = await _book_prices(unit, books.instruments, archive.prices)
        trades = busted = snapshots = 0
        for slug, agent in books.agents.items():
            portfolio = books.portfolios[slug]
            # Booking drops snapshots that trades outdate; imported ones were not made from trades.
            kept = await snapshots_of(unit, portfolio)
            booked, gone = await books.book_trades(agent, archive.positions.get(slug))
            trades, busted = trades + booked, busted + gone
            snapshots += await book_equity(unit, portfolio, archive.of(slug), kept=kept)
        analyses = [
            await record_analytics(
                unit, books.agents[slug], item.payload, updated_at=item.updated_at
            )
            for slug, item in archive.analyses.items()
        ]
        messages = await book_talks(unit, books.agents, archive.talks)
    return Imported(
        agents=books.made,
        prices=prices,
        trades=trades,
        busted=busted,
        snapshots=snapshots,
        analyses=sum(analyses),
        messages=messages,
        ignored=archive.ignored,
    )


async def _book_prices(
    unit: UnitOfWork, instruments: Mapping[str, Instrument], prices: Sequence[Price]
) -> int:
    """Store prices as ticks, which move the latest prices; return how many were new."""
    rows = [
        {
            "instrument_id": instruments[price.symbol].id,
            "time": price.time,
            "source": SOURCE,
            "price": price.price,
        }
        for price in prices
    ]
    return (await ingest_ticks(unit, rows, mode="upsert")).inserted
