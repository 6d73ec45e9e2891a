"""Contract sizes of the futures that tastytrade offers: its export leaves their multiplier empty.

Source: CME Group and Cboe contract specifications: the value of a price move of 1.0 in one
contract, in US dollars.
"""

import re
from decimal import Decimal
from typing import Final

_CONTRACT: Final = re.compile(r"/(?P<root>[A-Z0-9]+?)[FGHJKMNQUVXZ]\d{1,2}", re.ASCII)

_EQUITY_INDEX: Final = {
    "ES": "50", "MES": "5", "NQ": "20", "MNQ": "2", "RTY": "50", "M2K": "5", "YM": "5",
    "MYM": "0.5", "EMD": "100", "NKD": "5", "VX": "1000", "VXM": "100",
}  # fmt: skip
_ENERGY: Final = {
    "CL": "1000", "MCL": "100", "QM": "500", "NG": "10000", "QG": "2500", "MNG": "1000",
    "RB": "42000", "HO": "42000", "BZ": "1000",
}  # fmt: skip
_METALS: Final = {
    "GC": "100", "MGC": "10", "SI": "5000", "SIL": "1000", "HG": "25000", "MHG": "2500",
    "PL": "50", "PA": "100",
}  # fmt: skip
_RATES: Final = {
    "ZB": "1000", "UB": "1000", "ZN": "1000", "TN": "1000", "ZF": "1000", "ZT": "2000",
    "GE": "2500", "SR3": "2500",
}  # fmt: skip
_CURRENCIES: Final = {
    "6A": "100000", "6B": "62500", "6C": "100000", "6E": "125000", "6J": "12500000",
    "6M": "500000", "6N": "100000", "6S": "125000", "M6A": "10000", "M6B": "6250",
    "M6E": "12500",
}  # fmt: skip
_FARM: Final = {
    "ZC": "50", "ZS": "50", "ZW": "50", "KE": "50", "ZL": "600", "ZM": "100", "HE": "400",
    "LE": "400", "GF": "500",
}  # fmt: skip
_CRYPTO: Final = {"BTC": "5", "MBT": "0.1", "ETH": "50", "MET": "0.1"}

MULTIPLIERS: Final = {
    root: Decimal(size)
    for family in (_EQUITY_INDEX, _ENERGY, _METALS, _RATES, _CURRENCIES, _FARM, _CRYPTO)
    for root, size in family.items()
}


def contract_multiplier(symbol: str) -> Decimal | None:
    """Return the dollars of a price move of 1.0, or None for a future that is not listed here.

    Args:
        symbol: tastytrade's symbol: ``/MCLZ5``.

    Example:
        >>> contract_multiplier("/MCLZ5"), contract_multiplier("/QQQQZ5")
        (Decimal('100'), None)
    """
    match = _CONTRACT.fullmatch(symbol)
    return MULTIPLIERS.get(match["root"]) if match else None
