"""Order among the trades of one instant: a number made of what a row says, never of its place.

What ends an option comes before the shares that it delivers, the old side of a conversion before
the new one, and closing before opening, so that no position flips that only changed hands.
"""

from typing import Final

from domain.trading.terms import PositionEffect

RANK_OPTION_ENDS: Final = 0
RANK_CONVERTS_OUT: Final = 1
RANK_CONVERTS_IN: Final = 2
RANK_CLOSES: Final = 4
RANK_OPENS: Final = 5

_RANKS: Final = 8
_MAX_DIGITS: Final = 17


def rank_of(effect: PositionEffect | None) -> int:
    """Return the rank of a plain trade."""
    return RANK_CLOSES if effect is PositionEffect.CLOSE else RANK_OPENS


def sequence_of(number: str, rank: int) -> int:
    """Return the order of a row among those of its instant.

    Args:
        number: The broker's running number of the order or transaction; rows without one, or
            with one that is no number of at most 17 digits, come first.
        rank: 0 to 7, the order within one number.

    Returns:
        number * 8 + rank, below 2^63.

    Example:
        >>> sequence_of("60466849", RANK_OPENS), sequence_of("", RANK_OPTION_ENDS)
        (483734797, 0)
    """
    is_number = number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS
    return (int(number) if is_number else 0) * _RANKS + rank
