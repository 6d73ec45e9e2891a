"""Averages and volatility from real bars. Pure: the same bars always give the same numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final

from domain.demo.files import DailyBar
from domain.market.splits import Split, Splits

_MICRO: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Day:
    """One day of one symbol in the units of the last day.

    Args:
        day: The trading day.
        close: Close, adjusted for later splits only.
    """

    day: date
    close: Decimal


def split_adjusted(
    bars: Sequence[DailyBar], splits: Iterable[Mapping[str, str]]
) -> dict[str, list[Day]]:
    """Return the closes of each symbol by day, comparable across its splits.

    Args:
        bars: By symbol and day, raw.
        splits: Rows of ``corporate_actions.csv``: numerator new shares for denominator old ones.
    """
    found: dict[str, list[Split]] = {}
    for row in splits:
        ratio = Fraction(int(row["numerator"]), int(row["denominator"]))
        split = Split(date.fromisoformat(row["ex_on"]), ratio)
        found.setdefault(row["symbol"], []).append(split)
    known = {symbol: Splits(tuple(items)) for symbol, items in found.items()}
    series: dict[str, list[Day]] = {}
    for bar in bars:
        factor = known.get(bar.symbol, Splits()).after(bar.day)
        close = bar.close * factor.denominator / factor.numerator
        series.setdefault(bar.symbol, []).append(Day(bar.day, close.quantize(_MICRO)))
    return series


def average(days: Sequence[Day], window: int) -> Decimal:
    """Return the mean close of the last `window` days."""
    closes = [item.close for item in days[-window:]]
    return (sum(closes, Decimal(0)) / len(closes)).quantize(_MICRO)


def volatility(days: Sequence[Day], window: int, *, days_a_year: int) -> Decimal:
    """Return the annualised standard deviation of the last `window` daily log returns.

    Args:
        days: At least ``window + 1`` days.
        window: How many returns, two or more.
        days_a_year: 252 for shares, 365 for what trades every day.
    """
    closes = [float(item.close) for item in days[-window - 1 :]]
    returns = [math.log(after / before) for before, after in pairwise(closes)]
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((value - mean) ** 2 for value in returns) / (len(returns) - 1)
    return Decimal(str(math.sqrt(variance * days_a_year))).quantize(_MICRO)
