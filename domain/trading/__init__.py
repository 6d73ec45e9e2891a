"""Portfolios, trades, positions, lots, cash and profit.

The names here are those of everyday work; everything else is in the module named for its job.
"""

from domain.trading.correcting import bust_trade, correct_trade
from domain.trading.recording import Booked, NewTrade, record_trade, record_trades
from domain.trading.terms import CostBasisMethod, Side, TradeKind

__all__ = [
    "Booked",
    "CostBasisMethod",
    "NewTrade",
    "Side",
    "TradeKind",
    "bust_trade",
    "correct_trade",
    "record_trade",
    "record_trades",
]
