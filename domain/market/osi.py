"""Option symbols in the OCC's format: read, checked and written.

What lives here: the 21-character key of a listed US option and nothing else. Contracts, multipliers
and deliverables are rows of ``market.instruments``; nothing here touches a database or a clock.

Source: The Options Clearing Corporation, Options Symbology Initiative (OSI), in force since 2010:
root symbol (6 characters, left justified, blank padded), expiration (yymmdd), C or P, strike price
(8 digits, the last three are mills: 1/1000 of the currency unit).
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.market.terms import OptionType
from domain.money import checked, exact, scale

LENGTH: Final = 21
ROOT_WIDTH: Final = 6
MILLS: Final = Decimal(1000)
MAX_STRIKE: Final = Decimal("99999.999")

_RULE: Final = "be an OCC option symbol: root, yymmdd, C or P, strike in mills (8 digits)"
_ROOT: Final = re.compile(r"[A-Z0-9][A-Z0-9./]{0,5}", re.ASCII)
_SYMBOL: Final = re.compile(
    r"(?P<root>[A-Z0-9][A-Z0-9./]{0,5}) *"
    r"(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?P<right>[CP])(?P<mills>\d{8})",
    re.ASCII,
)
_LETTERS: Final = {"C": OptionType.CALL, "P": OptionType.PUT}
_CENTURY: Final = 2000


@dataclass(frozen=True, slots=True)
class OsiSymbol:
    """The terms that an OCC symbol spells out.

    Attributes:
        root: 1-6 characters; an adjusted contract has a digit at the end (``BUYR1``).
        expiration: The last day of trading, between 2000 and 2099.
        option_type: Call or put.
        strike: Price per unit of the underlying, more than 0, at most 99,999.999, in whole mills.

    Raises:
        InvalidData: A part cannot be written in the format.
    """

    root: str
    expiration: date
    option_type: OptionType
    strike: Decimal

    def __post_init__(self) -> None:
        if not _ROOT.fullmatch(self.root):
            raise InvalidData("root", self.root, "be 1-6 capital letters or digits")
        if not _CENTURY <= self.expiration.year < _CENTURY + 100:
            raise InvalidData("expiration", self.expiration, "lie between 2000 and 2099")
        if not 0 < checked(self.strike, "strike") <= MAX_STRIKE:
            raise InvalidData("strike", self.strike, f"be more than 0 and at most {MAX_STRIKE}")
        if scale(self.strike * MILLS):
            raise InvalidData("strike", self.strike, "be a whole number of mills (3 decimals)")

    def __str__(self) -> str:
        right = "C" if self.option_type is OptionType.CALL else "P"
        mills = int(self.strike * MILLS)
        return f"{self.root:<{ROOT_WIDTH}}{self.expiration:%y%m%d}{right}{mills:08d}"


def parse(symbol: str, field: str = "symbol") -> OsiSymbol:
    """Read an OCC symbol.

    Args:
        symbol: 21 characters; a root that is padded less, or not at all, is read too.
        field: The name used in the error.

    Raises:
        InvalidData: `symbol` is not in the format, or names a day that does not exist.

    Example:
        >>> parse("BUYR1 220617P00010000").strike
        Decimal('10')
        >>> str(parse("SPY220617P00010500"))
        'SPY   220617P00010500'
    """
    match = _SYMBOL.fullmatch(symbol) if len(symbol) <= LENGTH else None
    if match is None:
        raise InvalidData(field, symbol, _RULE)
    try:
        return OsiSymbol(
            root=match["root"],
            expiration=_expiration(match),
            option_type=_LETTERS[match["right"]],
            strike=_from_mills(match["mills"]),
        )
    except (InvalidData, ValueError) as error:
        raise InvalidData(field, symbol, _RULE) from error


def is_osi(symbol: str) -> bool:
    """Return whether `symbol` is an OCC symbol, padded or not.

    Example:
        >>> is_osi("TXN   200619P00115000"), is_osi("TXN")
        (True, False)
    """
    try:
        parse(symbol)
    except InvalidData:
        return False
    return True


def _expiration(match: re.Match[str]) -> date:
    return date(_CENTURY + int(match["year"]), int(match["month"]), int(match["day"]))


def _from_mills(digits: str) -> Decimal:
    with exact():
        return Decimal(int(digits)) / MILLS
