"""What is stored about trading: facts (trades, cash) and the projections made from them.

Facts are append-only: a trigger refuses every change but a trade's status. Positions, lots and
closures are projections: `domain.trading.recording` rebuilds them and `verify` proves them.
Every row carries its tenant, and composite foreign keys keep a tree inside one tenant.
"""

from domain.trading.models.facts import CashMovement, CashStatus, Trade, TradeStatus
from domain.trading.models.portfolios import BatchStatus, ImportBatch, Portfolio
from domain.trading.models.projections import (
    EquitySnapshot,
    Lot,
    LotClosure,
    Position,
    PositionStatus,
)

__all__ = [
    "BatchStatus",
    "CashMovement",
    "CashStatus",
    "EquitySnapshot",
    "ImportBatch",
    "Lot",
    "LotClosure",
    "Portfolio",
    "Position",
    "PositionStatus",
    "Trade",
    "TradeStatus",
]
