"""The closed vocabularies of market data: instrument kinds, option types, bar timeframes."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}


class InstrumentKind(StrEnum):
    """What an instrument is."""

    STOCK = "stock"
    ETF = "etf"
    FUND = "fund"
    BOND = "bond"
    OPTION = "option"
    FUTURE = "future"
    FUTURE_OPTION = "future_option"
    PERPETUAL = "perpetual"
    CFD = "cfd"
    FOREX = "forex"
    CRYPTO = "crypto"
    INDEX = "index"
    WARRANT = "warrant"
    OTHER = "other"


class OptionType(StrEnum):
    """The right an option gives."""

    CALL = "call"
    PUT = "put"


class Timeframe(StrEnum):
    """The length of a bar."""

    S1 = "1s"
    S5 = "5s"
    S15 = "15s"
    S30 = "30s"
    M1 = "1m"
    M2 = "2m"
    M3 = "3m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H2 = "2h"
    H4 = "4h"
    H6 = "6h"
    H8 = "8h"
    H12 = "12h"
    D1 = "1d"
    W1 = "1w"
    MO1 = "1mo"

    @property
    def step(self) -> timedelta | None:
        """Return the fixed length; None from a day on: days, weeks and months follow a zone."""
        unit = _UNITS.get(self.value[-1])
        return None if unit is None else int(self.value[:-1]) * unit


class CorporateActionKind(StrEnum):
    """What an issuer did."""

    SPLIT = "split"
    REVERSE_SPLIT = "reverse_split"
    STOCK_DIVIDEND = "stock_dividend"
    CASH_DIVIDEND = "cash_dividend"
    SPECIAL_DIVIDEND = "special_dividend"
    RETURN_OF_CAPITAL = "return_of_capital"
    SPIN_OFF = "spin_off"
    MERGER_STOCK = "merger_stock"
    MERGER_CASH = "merger_cash"
    SYMBOL_CHANGE = "symbol_change"
    RIGHTS = "rights"
    DELISTING = "delisting"
    OPTION_ADJUSTMENT = "option_adjustment"
