"""Reports: open positions, realized profit, cash and trades as plain rows, the same every time.

Amounts are Decimals; rows carry no ids, so two databases with the same facts give the same bytes.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Executable, Integer, SQLColumnExpression, case, cast, extract, func, select
from sqlalchemy.orm import joinedload

from domain.db.unit import Unit
from domain.errors import InvalidData
from domain.market.models import Instrument, LatestPrice
from domain.money import exact
from domain.trading.models import (
    CashMovement,
    CashStatus,
    LotClosure,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
    TradeStatus,
)
from domain.trading.terms import TradeKind
from domain.trading.valuation import market_value

Row = Mapping[str, Any]

_UTC_CLOSED: Final = func.timezone("UTC", LotClosure.closed_at)
_UNDERLYING: Final = case(
    (Instrument.option_root.is_not(None), func.trim(Instrument.option_root)),
    else_=Instrument.symbol,
)
PNL_GROUPS: Final[Mapping[str, SQLColumnExpression[Any]]] = {
    "year": cast(extract("year", _UTC_CLOSED), Integer),
    "month": func.to_char(_UTC_CLOSED, "YYYY-MM"),
    "kind": Instrument.kind,
    "symbol": Instrument.symbol,
    "underlying": _UNDERLYING,
    "currency": Position.currency,
    "strategy": Position.strategy,
}
"""What realized profit can be grouped by; years and months are those of the closing, in UTC."""


async def positions(unit: Unit, portfolio: Portfolio) -> list[Row]:
    """Return the open positions of `portfolio` by symbol.

    Returns:
        symbol, kind, side, quantity (signed), entry_price, open_value (cost basis, signed),
        open_fees, currency, price (newest known, or None), market_value, unrealized (after
        opening fees), opened_at.
    """
    statement = (
        select(Position, LatestPrice.price)
        .join(Position.instrument)
        .outerjoin(LatestPrice, LatestPrice.instrument_id == Position.instrument_id)
        .options(joinedload(Position.instrument))
        .where(Position.portfolio_id == portfolio.id, Position.status == PositionStatus.OPEN)
        .order_by(Instrument.symbol, Position.strategy, Position.position_ref)
    )
    found = await unit.session.execute(statement)
    return [_position(position, price) for position, price in found]


def _position(position: Position, price: Decimal | None) -> Row:
    value = unrealized = None
    if price is not None:
        value = market_value(
            position.quantity, price, multiplier=position.multiplier, inverse=position.is_inverse
        )
        with exact():
            unrealized = value - position.open_value - position.open_fees
    return {
        "symbol": position.instrument.symbol,
        "kind": position.instrument.kind,
        "side": position.side,
        "quantity": position.quantity,
        "entry_price": position.entry_price,
        "open_value": position.open_value,
        "open_fees": position.open_fees,
        "currency": position.currency,
        "price": price,
        "market_value": value,
        "unrealized": unrealized,
        "opened_at": position.opened_at,
    }


async def pnl(unit: Unit, portfolio: Portfolio, by: Sequence[str] = ("year", "kind")) -> list[Row]:
    """Return realized profit of `portfolio`, grouped.

    Amounts of several currencies are never added: a portfolio with more than one is grouped by
    currency too.

    Args:
        unit: Any unit of the tenant.
        portfolio: Which portfolio.
        by: Names from `PNL_GROUPS`, in the order of the columns.

    Returns:
        The groups, then gross, fees (opening and closing fees of the closed quantity), net,
        closures (number of matched pieces), ordered by the groups.

    Raises:
        InvalidData: An unknown group.
    """
    for name in by:
        if name not in PNL_GROUPS:
            raise InvalidData("by", name, f"be one of {', '.join(PNL_GROUPS)}")
    groups = tuple(dict.fromkeys(by))
    if "currency" not in groups and await _currencies(unit, portfolio) > 1:
        groups = (*groups, "currency")
    found = (await unit.session.execute(_pnl_statement(portfolio, groups))).mappings()
    return [dict(row) for row in found]


def _pnl_statement(portfolio: Portfolio, groups: Sequence[str]) -> Executable:
    columns: list[Any] = [PNL_GROUPS[name].label(name) for name in groups]
    gross = func.coalesce(func.sum(LotClosure.gross_pnl), 0)
    net = func.coalesce(func.sum(LotClosure.net_pnl), 0)
    return (
        select(
            *columns,
            gross.label("gross"),
            (gross - net).label("fees"),
            net.label("net"),
            func.count().label("closures"),
        )
        .select_from(LotClosure)
        .join(Position, Position.id == LotClosure.position_id)
        .join(Instrument, Instrument.id == Position.instrument_id)
        .where(Position.portfolio_id == portfolio.id)
        .group_by(*(PNL_GROUPS[name] for name in groups))
        .order_by(*(PNL_GROUPS[name] for name in groups))
    )


async def _currencies(unit: Unit, portfolio: Portfolio) -> int:
    statement = select(func.count(func.distinct(Position.currency))).where(
        Position.portfolio_id == portfolio.id, Position.status != PositionStatus.VOID
    )
    return (await unit.session.execute(statement)).scalar_one()


async def cash(unit: Unit, portfolio: Portfolio) -> list[Row]:
    """Return what moved the cash of `portfolio`: kind, currency, amount; zero totals left out."""
    total = func.sum(CashMovement.amount)
    statement = (
        select(CashMovement.kind, CashMovement.currency, total.label("amount"))
        .where(
            CashMovement.portfolio_id == portfolio.id,
            CashMovement.status == CashStatus.BOOKED,
        )
        .group_by(CashMovement.kind, CashMovement.currency)
        .having(total != 0)
        .order_by(CashMovement.currency, CashMovement.kind)
    )
    return [dict(row) for row in (await unit.session.execute(statement)).mappings()]


async def trades(unit: Unit, portfolio: Portfolio, *, limit: int = 100) -> list[Row]:
    """Return the newest trades of `portfolio` that count, newest first."""
    statement = (
        select(Trade)
        .options(joinedload(Trade.instrument))
        .where(
            Trade.portfolio_id == portfolio.id,
            Trade.status == TradeStatus.BOOKED,
            Trade.kind != TradeKind.BUST,
        )
        .order_by(Trade.executed_at.desc(), Trade.sequence.desc(), Trade.dedupe_key.desc())
        .limit(limit)
    )
    return [_trade(trade) for trade in await unit.session.scalars(statement)]


def _trade(trade: Trade) -> Row:
    return {
        "executed_at": trade.executed_at,
        "symbol": trade.instrument.symbol,
        "kind": trade.kind,
        "side": trade.side,
        "quantity": trade.quantity,
        "price": trade.price,
        "gross_amount": trade.gross_amount,
        "commission": trade.commission,
        "fees": trade.fees,
        "currency": trade.currency,
        "source": trade.source,
        "external_id": trade.external_id,
    }
