"""How an agent stands: the nine figures of nof0's leaderboard as exact arithmetic.

Pure: snapshots and round trips in, figures out. Every division and root is made with 60 digits
and rounded once, half-even, at the end: `SCALE` decimals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Final

from domain.money import CONTEXT, exact
from domain.trading.valuation import growth_factor

SCALE: Final = 12
"""Decimals of the Sharpe ratio and of the return in percent."""

DAYS_A_YEAR: Final = 365
"""Trading days of a market that never closes."""

_QUANTUM: Final = Decimal(1).scaleb(-SCALE)
_INSTANT: Final = timedelta(microseconds=1)
_ZERO: Final = Decimal(0)
_HUNDRED: Final = Decimal(100)
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a portfolio was worth at one instant.

    Args:
        time: When, aware UTC.
        equity: Cash and positions.
        contributions: Deposits less withdrawals until then.
    """

    time: datetime
    equity: Decimal
    contributions: Decimal

    @property
    def day(self) -> date:
        """The UTC day it closes or lies in: midnight belongs to the day that ends with it."""
        return (self.time - _INSTANT).date()


@dataclass(frozen=True, slots=True)
class Tally:
    """How round trips ended, in one currency; what broke even is neither win nor loss.

    Args:
        num_trades: How many.
        num_wins: How many earned something after fees.
        num_losses: How many lost something after fees.
        win_dollars: Sum of what was earned, not negative.
        lose_dollars: Sum of what was lost, not positive.
    """

    num_trades: int = 0
    num_wins: int = 0
    num_losses: int = 0
    win_dollars: Decimal = _ZERO
    lose_dollars: Decimal = _ZERO

    def plus(self, other: "Tally") -> "Tally":
        """Return both together."""
        with exact():
            return Tally(
                self.num_trades + other.num_trades,
                self.num_wins + other.num_wins,
                self.num_losses + other.num_losses,
                self.win_dollars + other.win_dollars,
                self.lose_dollars + other.lose_dollars,
            )


@dataclass(frozen=True, slots=True)
class Performance:
    """What the equity curve says.

    Args:
        equity: At the newest snapshot; None without one.
        sharpe: See `sharpe_ratio`.
        return_pct: See `return_percent`.
        valued_at: Time of the newest snapshot.
    """

    equity: Decimal | None
    sharpe: Decimal | None
    return_pct: Decimal | None
    valued_at: datetime | None


def performance(snapshots: Iterable[Snapshot], *, inception: datetime | None = None) -> Performance:
    """Return what an equity curve says.

    Args:
        snapshots: In any order; only the last of each UTC day counts.
        inception: Start of the track record: the last snapshot until then is where it begins.
            None: at the first snapshot, with nothing.
    """
    days = since(daily(snapshots), inception)
    if not days:
        return Performance(None, None, None, None)
    last = days[-1]
    start = days[0] if inception is not None and days[0].time <= inception else None
    return Performance(
        equity=last.equity,
        sharpe=sharpe_ratio(daily_returns(days)),
        return_pct=return_percent(last, start),
        valued_at=last.time,
    )


def daily(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the last snapshot of each UTC day that has one, oldest first."""
    newest = {item.day: item for item in sorted(snapshots, key=lambda item: item.time)}
    return list(newest.values())


def since(days: Sequence[Snapshot], inception: datetime | None) -> Sequence[Snapshot]:
    """Return the snapshots of the track record: the last one until `inception`, and all later."""
    if inception is None:
        return days
    before = sum(1 for item in days if item.time <= inception)
    return days[max(before - 1, 0) :]


def daily_returns(days: Sequence[Snapshot]) -> list[Decimal] | None:
    """Return the return of each period between two snapshots, 0.01 for one percent.

    (equity - contributions of the period) / equity before - 1: money that came or went counts at
    the end of its period. A period that begins with nothing earns on what is paid in. A day
    without a snapshot is part of the next period.

    Returns:
        None when a period begins with a debt: no return is defined then.

    Source: CFA Institute, Global Investment Performance Standards (GIPS) 2020, sub-period returns.
    """
    returns = []
    with exact():
        for before, after in pairwise(days):
            paid_in = after.contributions - before.contributions
            factor = growth_factor(before.equity, after.equity, paid_in)
            if factor is None:
                return None
            returns.append(factor - 1)
    return returns


def sharpe_ratio(
    returns: Sequence[Decimal] | None, *, periods_a_year: int = DAYS_A_YEAR
) -> Decimal | None:
    """Return mean / sample deviation of `returns`, times the root of the periods in a year.

    The risk-free rate is taken as zero, as nof0 and the crypto markets do. nof0 shows the ratio
    of the periods themselves: that is ``periods_a_year=1``.

    Args:
        returns: Of equal periods; None where no return is defined.
        periods_a_year: 365 for days of a market that never closes, 252 for exchange days.

    Returns:
        To `SCALE` decimals; None for fewer than two returns or when they do not differ.

    Source: W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21(1), 1994, ex post
        ratio with sample deviation; A. W. Lo, "The Statistics of Sharpe Ratios", Financial
        Analysts Journal 58(4), 2002, for the root of time.

    Example:
        >>> sharpe_ratio([Decimal("0.01"), Decimal("0.03")], periods_a_year=1)
        Decimal('1.414213562373')
    """
    # Equal returns are told apart before any rounding: their mean need not be one of them.
    if returns is None or len(returns) < _FEWEST or all(item == returns[0] for item in returns):
        return None
    with exact():
        mean = sum(returns, _ZERO) / len(returns)
        squares = sum(((item - mean) ** 2 for item in returns), _ZERO)
        deviation = (squares / (len(returns) - 1)).sqrt()
        return _rounded(mean / deviation * Decimal(periods_a_year).sqrt())


def return_percent(last: Snapshot, start: Snapshot | None = None) -> Decimal | None:
    """Return the profit since `start` in percent of what was there and what was paid in since.

    Args:
        last: The newest snapshot.
        start: Where the track record begins; None: with nothing.

    Returns:
        100 * (equity - base) / base to `SCALE` decimals, where base is the equity at the start
        plus the contributions since; None when that is not positive.

    Example:
        >>> from datetime import UTC, datetime
        >>> now = datetime(2026, 1, 1, tzinfo=UTC)
        >>> return_percent(Snapshot(now, Decimal("10900.67"), Decimal(10_000)))
        Decimal('9.006700000000')
    """
    with exact():
        base = last.contributions
        if start is not None:
            base += start.equity - start.contributions
        return _rounded(_HUNDRED * (last.equity - base) / base) if base > 0 else None


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(_QUANTUM, rounding=ROUND_HALF_EVEN, context=CONTEXT)
