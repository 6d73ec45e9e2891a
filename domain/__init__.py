"""Tradekeep: the data layer of a trading team.

`Database` opens units of work; the models are SQLAlchemy classes; every error is a
`TradekeepError`. Areas stand on mechanisms: see ``docs/pages/areas``.
"""

from domain.alerts.models import Alert
from domain.database import Database
from domain.errors import TradekeepError
from domain.identity.models import User
from domain.journal.models import JournalEntry
from domain.market.models import Instrument
from domain.trading.models import Portfolio, Position, Trade

__version__ = "0.1.0"
__all__ = [
    "Alert",
    "Database",
    "Instrument",
    "JournalEntry",
    "Portfolio",
    "Position",
    "Trade",
    "TradekeepError",
    "User",
]
