"""Books trades that come as messages: each once, however often it is sent."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, MultipleFound, NotFound
from domain.market.models import Instrument
from domain.messaging.consuming import Received
from domain.messaging.messages import TradeIngested
from domain.trading.models import Portfolio
from domain.trading.recording import NewTrade, record_trades
from domain.trading.terms import Side

_SAME: Final = (
    "quantity",
    "price",
    "executed_at",
    "fees",
    "commission",
    "fee_currency",
    "fee_rate",
    "sequence",
    "external_id",
    "source",
    "strategy",
    "position_ref",
    "order_type",
    "leverage",
    "confidence",
    "description",
)


async def ingest_trades(unit: UnitOfWork, received: Sequence[Received[TradeIngested]]) -> None:
    """Book these trades, all or none; one that was booked before changes nothing.

    A handler for `domain.messaging.consuming.Consumer`.

    Raises:
        InvalidData: A value breaks a rule, or the portfolio is not the user's.
        ConflictingTrade: The same external id was booked with other economics.
        NotFound: No such instrument, yet.
        MultipleFound: Several instruments have the symbol.
    """
    messages = [item.message for item in received]
    instruments = await _Instruments.of(unit, messages)
    by_portfolio: defaultdict[UUID, list[TradeIngested]] = defaultdict(list)
    for message in messages:
        by_portfolio[message.portfolio_id].append(message)
    portfolios = await _portfolios(unit, by_portfolio)
    # In one order everywhere, so that two workers never wait for each other.
    for portfolio_id in sorted(by_portfolio):
        portfolio = portfolios.get(portfolio_id)
        trades = [
            _trade(message, portfolio, instruments.of_message(message))
            for message in by_portfolio[portfolio_id]
        ]
        assert portfolio is not None  # noqa: S101 - `_trade` refused otherwise
        await record_trades(unit, portfolio, trades)


async def _portfolios(unit: UnitOfWork, wanted: Mapping[UUID, Any]) -> Mapping[UUID, Portfolio]:
    found = await unit.session.scalars(select(Portfolio).where(Portfolio.id == any_of(wanted)))
    return {portfolio.id: portfolio for portfolio in found}


def _trade(message: TradeIngested, portfolio: Portfolio | None, instrument: Instrument) -> NewTrade:
    if portfolio is None or portfolio.user_id != message.user_id:
        raise InvalidData("portfolioId", str(message.portfolio_id), "be a portfolio of the user")
    if message.side not in set(Side):
        raise InvalidData("side", message.side, "be buy or sell")
    same: dict[str, Any] = {name: getattr(message, name) for name in _SAME}
    return NewTrade(instrument=instrument, side=Side(message.side), **same)


class _Instruments:
    """The instruments of some messages, by id and by symbol."""

    def __init__(self, found: Sequence[Instrument]) -> None:
        self._by_id = {item.id: item for item in found}
        self._by_symbol: defaultdict[str, list[Instrument]] = defaultdict(list)
        for item in found:
            self._by_symbol[item.symbol].append(item)

    @classmethod
    async def of(cls, unit: UnitOfWork, messages: Sequence[TradeIngested]) -> "_Instruments":
        """Read them in one statement."""
        ids = {item.instrument_id for item in messages if item.instrument_id is not None}
        symbols = {item.symbol for item in messages if item.instrument_id is None}
        either = (Instrument.id == any_of(ids)) | Instrument.symbol.in_(
            sorted(filter(None, symbols))
        )
        return cls((await unit.session.scalars(select(Instrument).where(either))).all())

    def of_message(self, message: TradeIngested) -> Instrument:
        """Return the instrument that a message names."""
        if message.instrument_id is not None:
            found = self._by_id.get(message.instrument_id)
            candidates = [found] if found else []
        elif message.symbol:
            candidates = self._by_symbol.get(message.symbol, [])
        else:
            raise InvalidData("symbol", message.symbol, "be given when instrumentId is not")
        named = message.symbol or str(message.instrument_id)
        if not candidates:
            raise NotFound(f"no instrument {named}")
        if len(candidates) > 1:
            raise MultipleFound(f"{named} is the symbol of several instruments: send instrumentId")
        return candidates[0]
