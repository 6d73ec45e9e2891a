"""Charts as inline SVG: drawn by the server, coloured by the style sheet, crisp everywhere.

Coordinates are floats on purpose: they are pixels, not money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Final

from admin.rendering import number
from admin.translating import month_name

WIDTH: Final = 1_000
HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 4, 4, 12, 24
_MOST_POINTS: Final = 500
_MOST_LABELS: Final = 6
_STEPS: Final = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis.

    Args:
        at: Pixels along the axis.
        text: What it says.
    """

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line chart.

    Args:
        path: SVG path of the line.
        area: SVG path of the area below it.
        zero: Height of the zero line, if it is inside.
        days: Labels below.
        values: Labels at the left.
        last: The newest value.
    """

    path: str
    area: str
    zero: float | None
    days: Sequence[Tick]
    values: Sequence[Tick]
    last: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a bar chart, in pixels.

    Args:
        x: Left edge.
        y: Upper edge.
        width: Width.
        height: Height.
        kind: positive or negative.
        title: What appears on hover.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart.

    Args:
        bars: The bars.
        zero: Height of the zero line.
        labels: Labels below.
        values: Labels at the left.
    """

    bars: Sequence[Bar]
    zero: float
    labels: Sequence[Tick]
    values: Sequence[Tick]


def line_chart(points: Sequence[tuple[datetime, Decimal]]) -> Line | None:
    """Return the line through `points`, oldest first; None for fewer than two."""
    if len(points) < 2:  # noqa: PLR2004 - a line needs two
        return None
    step = max(1, len(points) // _MOST_POINTS)
    chosen = [*points[::step], points[-1]]
    heights = _Scale.of([value for _, value in chosen])
    first, last = chosen[0][0].timestamp(), chosen[-1][0].timestamp()
    span = (last - first) or 1.0
    pixels = [
        (
            _LEFT + (at.timestamp() - first) / span * (WIDTH - _LEFT - _RIGHT),
            heights.y(value),
        )
        for at, value in chosen
    ]
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    floor = HEIGHT - _BOTTOM
    area = f"{path} L{pixels[-1][0]:.1f},{floor} L{pixels[0][0]:.1f},{floor} Z"
    quarters = [chosen[len(chosen) * part // 4] for part in range(4)]
    days = [
        Tick(
            _LEFT + (at.timestamp() - first) / span * (WIDTH - _LEFT - _RIGHT),
            f"{month_name(at.month)} {at:%Y}",
        )
        for at, _ in quarters
    ]
    zero = heights.y(Decimal(0)) if heights.low < 0 < heights.high else None
    return Line(path, area, zero, days, heights.ticks(), number(points[-1][1], "equity").text)


def bar_chart(months: Sequence[tuple[date, Decimal]]) -> Bars | None:
    """Return one bar a month; None without any."""
    if not months:
        return None
    heights = _Scale.of([Decimal(0), *(value for _, value in months)])
    slot = (WIDTH - _LEFT - _RIGHT) / len(months)
    zero = heights.y(Decimal(0))
    bars = []
    for index, (month, value) in enumerate(months):
        y = heights.y(value)
        bars.append(
            Bar(
                x=_LEFT + index * slot + slot * 0.12,
                y=min(y, zero),
                width=slot * 0.76,
                height=max(abs(y - zero), 1.0) if value else 0.0,
                kind="positive" if value >= 0 else "negative",
                title=f"{month_name(month.month)} {month:%Y}: {number(value, 'net').text}",
            )
        )
    step = -(-len(months) // _MOST_LABELS)
    labels = [
        Tick(_LEFT + index * slot + slot / 2, f"{month_name(month.month)} {month:%y}")
        for index, (month, _) in enumerate(months)
        if index % step == 0
    ]
    return Bars(bars, zero, labels, heights.ticks())


def histogram(counts: Sequence[tuple[Decimal, int, str]]) -> Bars | None:
    """Return one bar for each (value it begins at, how many, meaning); None without any.

    Bars that begin at or above zero are positive.
    """
    if not counts:
        return None
    heights = _Scale(Decimal(0), Decimal(max(count for _, count, _ in counts)) * Decimal("1.08"))
    slot = (WIDTH - _LEFT - _RIGHT) / len(counts)
    floor = heights.y(Decimal(0))
    bars = [
        Bar(
            x=_LEFT + index * slot + slot * 0.06,
            y=heights.y(Decimal(count)),
            width=slot * 0.88,
            height=floor - heights.y(Decimal(count)),
            kind="positive" if start >= 0 else "negative",
            title=meaning,
        )
        for index, (start, count, meaning) in enumerate(counts)
    ]
    step = -(-len(counts) // _MOST_LABELS)
    labels = [
        Tick(_LEFT + index * slot, number(start).text)
        for index, (start, _, _) in enumerate(counts)
        if index % step == 0
    ]
    return Bars(bars, floor, labels, [tick for tick in heights.ticks() if "." not in tick.text])


@dataclass(frozen=True, slots=True)
class _Scale:
    low: Decimal
    high: Decimal

    @classmethod
    def of(cls, values: Sequence[Decimal]) -> "_Scale":
        low, high = min(values), max(values)
        margin = (high - low) / 20 or abs(high) / 20 or Decimal(1)
        return cls(low - margin, high + margin)

    def y(self, value: Decimal) -> float:
        share = float((value - self.low) / (self.high - self.low))
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)

    def ticks(self) -> list[Tick]:
        return [Tick(self.y(value), number(value).text) for value in self.marks()]

    def marks(self) -> list[Decimal]:
        """Return round values inside, about four."""
        rough = (self.high - self.low) / 4
        power = Decimal(10) ** rough.adjusted()
        step = next(item * power for item in _STEPS if item * power >= rough)
        first = (self.low / step).to_integral_value(ROUND_CEILING) * step
        values = (first + step * count for count in range(6))
        return [value for value in values if value <= self.high]
