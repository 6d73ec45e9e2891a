"""Exact decimal numbers: what is a valid amount, how it is written, in which context we compute.

The stored range is the one that the database checks too: at most 18 decimals, magnitude below
10^20, never NaN or infinite. No float ever enters: ``Decimal(0.1)`` is a bug that this module
refuses to make.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from decimal import localcontext as _localcontext
from typing import Final

from domain.errors import InvalidData

MAX_SCALE: Final = 18
MAX_MAGNITUDE: Final = Decimal(10) ** 20
QUANTUM: Final = Decimal(1).scaleb(-MAX_SCALE)
CONTEXT: Final = Context(
    prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow]
)

_LONGEST_NUMBER: Final = 84
_PLAIN_NUMBER: Final = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})")
_GROUPED_NUMBER: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d{0,40})?")


@contextmanager
def exact() -> Iterator[None]:
    """Compute with 60 digits inside the block, whatever the caller's context is.

    Python's default of 28 digits fails on 18-decimal quantities.
    """
    with _localcontext(CONTEXT):
        yield


def checked(value: Decimal | int, field: str = "amount") -> Decimal:
    """Return `value` as a Decimal inside the stored range.

    Args:
        value: A Decimal or an int. A float or bool is refused: it is not exact.
        field: The name used in the error.

    Raises:
        InvalidData: Wrong type, NaN, infinite, more than 18 decimals, or 10^20 and above.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise InvalidData(field, value, "be a Decimal or an int, never a float")
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidData(field, str(number), "be a finite number")
    if number and number.adjusted() >= MAX_MAGNITUDE.adjusted():
        raise InvalidData(field, str(number), "be smaller than 10^20")
    if scale(number) > MAX_SCALE:
        raise InvalidData(field, str(number), f"have at most {MAX_SCALE} decimals")
    return number


def parse(text: str, field: str = "amount", *, grouping: bool = False) -> Decimal:
    """Read a number that a person or a broker wrote.

    Args:
        text: Digits with an optional sign and decimal point. No exponent, so no exponent bomb.
        field: The name used in the error.
        grouping: Accept commas between groups of three digits (``1,234.50``).

    Raises:
        InvalidData: `text` is not such a number or lies outside the stored range.
    """
    stripped = text.strip()
    is_plain = len(stripped) <= _LONGEST_NUMBER and _PLAIN_NUMBER.fullmatch(stripped)
    is_grouped = (
        grouping and len(stripped) <= _LONGEST_NUMBER and _GROUPED_NUMBER.fullmatch(stripped)
    )
    if not (is_plain or is_grouped) or not stripped.isascii():
        raise InvalidData(field, text, "be a decimal number")
    return checked(Decimal(stripped.replace(",", "")), field)


def quantized(value: Decimal) -> Decimal:
    """Round `value` half-even to 18 decimals unless it has no more than that already."""
    if scale(value) <= MAX_SCALE:
        return value
    return value.quantize(QUANTUM, context=CONTEXT)


def scale(value: Decimal) -> int:
    """Return how many decimals `value` really needs: 0 for ``100``, 1 for ``0.50``."""
    if not value:
        return 0
    sign_digits_exponent = value.normalize(CONTEXT).as_tuple()
    exponent = sign_digits_exponent.exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def plain(value: Decimal) -> str:
    """Write `value` in its one canonical form: no exponent, no trailing zeros, no minus zero.

    Example:
        >>> plain(Decimal("1E+2")), plain(Decimal("0.50")), plain(Decimal("-0.0"))
        ('100', '0.5', '0')
    """
    return f"{value.normalize(CONTEXT):f}" if value else "0"
