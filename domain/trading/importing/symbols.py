"""Symbols and currencies as files spell them, checked before they become instruments."""

import re
from typing import Final

from domain.errors import InvalidData

MAX_SYMBOL: Final = 64

_CURRENCY: Final = re.compile(r"[A-Z0-9]{3,12}", re.ASCII)
_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}\d", re.ASCII)
_FORMULA_STARTS: Final = ("=", "+", "-", "@")


def checked_symbol(text: str, field: str) -> str:
    """Return a symbol.

    Raises:
        InvalidData: Empty, longer than 64, not printable ASCII, without a letter or digit, or
            beginning like a spreadsheet formula.
    """
    if not text:
        raise InvalidData(field, text, "name an instrument")
    is_plain = len(text) <= MAX_SYMBOL and text.isascii() and text.isprintable()
    if not is_plain or not any(c.isalnum() for c in text):
        raise InvalidData(field, text, f"be a symbol of at most {MAX_SYMBOL} ASCII characters")
    if text.startswith(_FORMULA_STARTS):
        raise InvalidData(field, text, "be a symbol, not a formula")
    return text


def checked_currency(text: str, field: str) -> str:
    """Return a currency code.

    Raises:
        InvalidData: Not 3-12 capital letters and digits.
    """
    if not _CURRENCY.fullmatch(text):
        raise InvalidData(field, text, "be a currency code like USD")
    return text


def is_isin(text: str) -> bool:
    """Return whether `text` has the form of an ISIN; the check digit is not verified.

    Example:
        >>> is_isin("US67075E1082"), is_isin("67075E108")
        (True, False)
    """
    return _ISIN.fullmatch(text) is not None
