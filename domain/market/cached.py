"""Cached answers about markets: instruments, quotes, option chains. The same for everybody.

Quotes are cached one an instrument, so that a price throws out one answer. What needs several of
them asks for them together: reads of one moment share one round trip.
"""

import asyncio
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import select

from domain.cache import Audience, CachedReader, Rows, Tier, cached
from domain.cache.selecting import all_as, first_as, select_as
from domain.db.unit import ReadUnit
from domain.errors import MultipleFound
from domain.market.models import Instrument, InstrumentStatus, LatestPrice
from domain.market.terms import InstrumentKind, OptionType


class InstrumentFacts(msgspec.Struct, frozen=True):
    """What is needed to show and value an instrument."""

    id: UUID
    symbol: str
    kind: InstrumentKind
    name: str | None
    exchange: str | None
    quote_currency: str
    settlement_currency: str | None
    multiplier: Decimal
    is_inverse: bool
    cash_model: str
    status: InstrumentStatus


class CompanyFacts(msgspec.Struct, frozen=True):
    """What is known of an issuer; `details` is JSON as its source gave it."""

    id: UUID
    symbol: str
    name: str | None
    exchange: str | None
    isin: str | None
    cusip: str | None
    figi: str | None
    status: InstrumentStatus
    listed_on: date | None
    delisted_on: date | None
    details: msgspec.Raw


class Quote(msgspec.Struct, frozen=True):
    """The newest price of an instrument, quote currency a unit."""

    instrument_id: UUID
    price: Decimal
    time: datetime
    source: str
    bid: Decimal | None
    ask: Decimal | None
    mark: Decimal | None


class OptionContract(msgspec.Struct, frozen=True):
    """One option of a chain."""

    id: UUID
    symbol: str
    option_type: OptionType
    strike: Decimal
    multiplier: Decimal
    quote_currency: str
    status: InstrumentStatus


class QuotedOption(msgspec.Struct, frozen=True):
    """An option of a chain with its newest price."""

    contract: OptionContract
    quote: Quote | None


@cached(
    tier=Tier.COLD,
    audience=Audience.EVERYBODY,
    stale_by=[Rows(Instrument, instrument_id="id")],
)
async def instrument(unit: ReadUnit, instrument_id: UUID) -> InstrumentFacts | None:
    """Return an instrument."""
    statement = select_as(InstrumentFacts, Instrument).where(Instrument.id == instrument_id)
    return await first_as(unit, InstrumentFacts, statement)


@cached(
    tier=Tier.COLD,
    audience=Audience.EVERYBODY,
    stale_by=[Rows(Instrument, symbol="symbol").ignoring("details", "version", "updated_at")],
)
async def instruments_named(unit: ReadUnit, symbol: str) -> tuple[UUID, ...]:
    """Return the ids of the instruments with this ticker: several when markets share it."""
    named = select(Instrument.id).where(Instrument.symbol == symbol).order_by(Instrument.id)
    return tuple(await unit.session.scalars(named))


@cached(
    tier=Tier.COLD,
    audience=Audience.EVERYBODY,
    stale_by=[Rows(Instrument, instrument_id="id")],
)
async def company_facts(unit: ReadUnit, instrument_id: UUID) -> CompanyFacts | None:
    """Return what is known of an issuer."""
    statement = select_as(CompanyFacts, Instrument).where(Instrument.id == instrument_id)
    return await first_as(unit, CompanyFacts, statement)


@cached(
    tier=Tier.HOT,
    audience=Audience.EVERYBODY,
    stale_by=[Rows(LatestPrice, instrument_id="instrument_id")],
)
async def quote(unit: ReadUnit, instrument_id: UUID) -> Quote | None:
    """Return the newest price of an instrument."""
    newest = select_as(Quote, LatestPrice).where(LatestPrice.instrument_id == instrument_id)
    return await first_as(unit, Quote, newest)


@cached(
    tier=Tier.WARM,
    audience=Audience.EVERYBODY,
    stale_by=[Rows(Instrument, underlying_id="underlying_id", expires_on="expires_on")],
)
async def option_chain(
    unit: ReadUnit, underlying_id: UUID, expires_on: date
) -> tuple[OptionContract, ...]:
    """Return the options on an instrument that expire on one day, by strike, calls first."""
    statement = (
        select_as(OptionContract, Instrument)
        .where(
            Instrument.underlying_id == underlying_id,
            Instrument.expires_on == expires_on,
            Instrument.kind == InstrumentKind.OPTION,
        )
        .order_by(Instrument.strike, Instrument.option_type, Instrument.id)
    )
    return await all_as(unit, OptionContract, statement)


async def quotes(reader: CachedReader, instruments: Iterable[UUID]) -> dict[UUID, Quote]:
    """Return the newest prices of instruments that have one, in one round trip when cached."""
    wanted = list(dict.fromkeys(instruments))
    found = await asyncio.gather(*(reader.get(quote, ident) for ident in wanted))
    return {item.instrument_id: item for item in found if item is not None}


async def quote_of_symbol(reader: CachedReader, symbol: str) -> Quote | None:
    """Return the newest price of the instrument with this ticker, or None.

    Raises:
        MultipleFound: Several instruments that are priced share the ticker.
    """
    idents = await reader.get(instruments_named, symbol)
    found = await quotes(reader, idents)
    if len(found) > 1:
        raise MultipleFound(f"several instruments are called {symbol!r}: ask by id")
    return next(iter(found.values()), None)


async def quoted_chain(
    reader: CachedReader, underlying_id: UUID, expires_on: date
) -> tuple[QuotedOption, ...]:
    """Return an option chain with the newest price of each contract."""
    chain = await reader.get(option_chain, underlying_id, expires_on)
    priced = await quotes(reader, (contract.id for contract in chain))
    return tuple(QuotedOption(contract, priced.get(contract.id)) for contract in chain)
