"""The calendar of daily profit: a square a day, a column a week, the colour says how it went."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from admin.rendering import number
from admin.translating import gettext, month_name, weekday_name

_DAYS: Final = 371
"""Fifty-three weeks: a year, whatever the day it begins on."""

_SIZE, _GAP = 11, 3
_LEFT, _TOP = 30, 16
_STEPS: Final = 4
_NAMED: Final = (0, 2, 4)
"""The weekdays that are named: every second line has room for one."""


@dataclass(frozen=True, slots=True)
class Square:
    """One day, in pixels.

    Args:
        x: Left edge.
        y: Upper edge.
        kind: ``gain-1`` to ``gain-4``, ``loss-1`` to ``loss-4``, or ``even``.
        title: The day and what it earned.
    """

    x: int
    y: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """A year of days.

    Args:
        squares: The days, oldest first.
        months: (x, name) above the weeks.
        weekdays: (y, name) beside them.
        width: Pixels.
        height: Pixels.
        size: Edge of a square in pixels.
        best: The best day, in words.
        worst: The worst day, in words.
        green: How many days earned something.
        red: How many lost something.
    """

    squares: Sequence[Square]
    months: Sequence[tuple[int, str]]
    weekdays: Sequence[tuple[int, str]]
    width: int
    height: int
    size: int
    best: str
    worst: str
    green: int
    red: int


def calendar_of(profits: Sequence[tuple[date, Decimal]]) -> Calendar | None:
    """Return the last year of `profits`, oldest first; None when nothing happened in it."""
    if not profits:
        return None
    newest = profits[-1][0]
    start = newest - timedelta(days=_DAYS - 1)
    start -= timedelta(days=start.weekday())
    shown = [(day, profit) for day, profit in profits if day >= start]
    moved = [(day, profit) for day, profit in shown if profit]
    if not moved:
        return None
    largest = max(abs(profit) for _, profit in moved)
    squares = [_square(day, profit, start, largest) for day, profit in shown]
    weeks = (newest - start).days // 7 + 1
    return Calendar(
        squares=squares,
        months=_months(start, weeks),
        weekdays=[(_TOP + at * (_SIZE + _GAP) + _SIZE - 2, name) for at, name in _named()],
        width=_LEFT + weeks * (_SIZE + _GAP),
        height=_TOP + 7 * (_SIZE + _GAP),
        size=_SIZE,
        best=_words(max(moved, key=lambda item: item[1])),
        worst=_words(min(moved, key=lambda item: item[1])),
        green=sum(profit > 0 for _, profit in moved),
        red=sum(profit < 0 for _, profit in moved),
    )


def _named() -> list[tuple[int, str]]:
    return [(at, weekday_name(at)) for at in _NAMED]


def _square(day: date, profit: Decimal, start: date, largest: Decimal) -> Square:
    week, weekday = divmod((day - start).days, 7)
    x, y = _LEFT + week * (_SIZE + _GAP), _TOP + weekday * (_SIZE + _GAP)
    return Square(x, y, _kind(profit, largest), _words((day, profit)))


def _kind(profit: Decimal, largest: Decimal) -> str:
    if not profit:
        return "even"
    # The root spreads quiet days: one wild day must not leave all others pale.
    share = (abs(profit) / largest).sqrt()
    step = min(_STEPS, int(share * _STEPS) + 1)
    return f"{'gain' if profit > 0 else 'loss'}-{step}"


def _months(start: date, weeks: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    last = 0
    for week in range(weeks):
        day = start + timedelta(days=week * 7)
        if day.month != last and week + 2 <= weeks:
            found.append((_LEFT + week * (_SIZE + _GAP), month_name(day.month)))
            last = day.month
    # A month that begins in the second column would write over the first.
    crowded = len(found) > 1 and found[1][0] - found[0][0] < 2 * (_SIZE + _GAP)
    return found[1:] if crowded else found


def _words(item: tuple[date, Decimal]) -> str:
    day, profit = item
    parts = {"day": f"{day:%d}", "month": month_name(day.month), "year": f"{day:%Y}"}
    return f"{gettext('%(day)s %(month)s %(year)s', **parts)}: {number(profit, 'net').text}"
