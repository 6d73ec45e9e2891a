"""What portfolios are worth now: cached ledger facts at cached quotes, put together on reading.

Nothing here is cached itself: a price moves no ledger, a trade moves no price.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import msgspec

from domain.cache import CachedReader
from domain.market.cached import InstrumentFacts, Quote, instrument, quotes
from domain.money import exact
from domain.trading.cached import (
    Balance,
    PortfolioFacts,
    PositionFacts,
    open_positions,
    portfolio_ledger,
)
from domain.trading.terms import CashModel
from domain.trading.valuation import market_value, unrealized

_ZERO: Final = Decimal(0)


class ValuedPosition(msgspec.Struct, frozen=True):
    """An open position at its newest price.

    Attributes:
        facts: What the ledger knows.
        symbol: The instrument's ticker.
        price: Newest price, quote currency a unit; None: none is known.
        priced_at: Time of the price, UTC.
        market_value: Signed, in the position's currency.
        unrealized: Profit at the price, after the fees paid to open.
        counts: What it adds to equity: its value, less what was never paid in cash.
    """

    facts: PositionFacts
    symbol: str
    price: Decimal | None
    priced_at: datetime | None
    market_value: Decimal | None
    unrealized: Decimal | None
    counts: Decimal | None


class Total(msgspec.Struct, frozen=True):
    """All of a portfolio in one currency; positions without a price count nothing."""

    currency: str
    cash: Decimal
    market_value: Decimal
    unrealized: Decimal
    equity: Decimal


class PortfolioOverview(msgspec.Struct, frozen=True):
    """A portfolio with its positions at the newest prices, and totals by currency."""

    portfolio: PortfolioFacts
    positions: tuple[ValuedPosition, ...]
    totals: tuple[Total, ...]


async def portfolio_overview(reader: CachedReader, portfolio_id: UUID) -> PortfolioOverview | None:
    """Return what a portfolio holds and what it is worth now, or None.

    Args:
        reader: A reader of the owner.
        portfolio_id: Which portfolio.
    """
    ledger = await reader.get(portfolio_ledger, portfolio_id)
    if ledger is None:
        return None
    positions = await valued(reader, ledger.positions)
    return PortfolioOverview(ledger.portfolio, positions, _totals(ledger.cash, positions))


async def valued_positions(reader: CachedReader, portfolio_id: UUID) -> tuple[ValuedPosition, ...]:
    """Return the open positions of a portfolio at the newest prices."""
    positions = await reader.get(open_positions, portfolio_id)
    return await valued(reader, positions)


async def valued(
    reader: CachedReader, positions: Sequence[PositionFacts]
) -> tuple[ValuedPosition, ...]:
    """Return positions at the newest prices; all instruments are asked for at once."""
    idents = list(dict.fromkeys(facts.instrument_id for facts in positions))
    prices, found = await asyncio.gather(
        quotes(reader, idents),
        asyncio.gather(*(reader.get(instrument, ident) for ident in idents)),
    )
    known = {item.id: item for item in found if item is not None}
    return tuple(_valued(facts, known, prices) for facts in positions)


def _valued(
    facts: PositionFacts, known: Mapping[UUID, InstrumentFacts], prices: Mapping[UUID, Quote]
) -> ValuedPosition:
    at = known.get(facts.instrument_id)
    symbol = "" if at is None else at.symbol
    quote = prices.get(facts.instrument_id)
    if at is None or quote is None:
        return ValuedPosition(facts, symbol, None, None, None, None, None)
    value = market_value(
        facts.quantity, quote.price, multiplier=facts.multiplier, inverse=facts.is_inverse
    )
    profit = unrealized(value, facts.open_value, facts.open_fees)
    with exact():
        unpaid = facts.open_value if at.cash_model == CashModel.MARGINED else _ZERO
        counts = value - unpaid
    return ValuedPosition(facts, symbol, quote.price, quote.time, value, profit.net, counts)


def _totals(cash: Sequence[Balance], positions: Sequence[ValuedPosition]) -> tuple[Total, ...]:
    balances = {balance.currency: balance.amount for balance in cash}
    held = defaultdict(list)
    for position in positions:
        held[position.facts.currency].append(position)
    return tuple(
        _total(currency, balances.get(currency, _ZERO), held[currency])
        for currency in sorted(balances.keys() | held.keys())
    )


def _total(currency: str, cash: Decimal, positions: Sequence[ValuedPosition]) -> Total:
    with exact():
        return Total(
            currency=currency,
            cash=cash,
            market_value=sum((item.market_value or _ZERO for item in positions), _ZERO),
            unrealized=sum((item.unrealized or _ZERO for item in positions), _ZERO),
            equity=cash + sum((item.counts or _ZERO for item in positions), _ZERO),
        )
