"""Fewer points that look the same: Largest Triangle Three Buckets, on exact values.

Pure. The points kept are points that were given; nothing is averaged or invented.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from domain.errors import InvalidData
from domain.money import exact

Point: TypeAlias = tuple[datetime, Decimal]
"""A time and a value."""

_FEWEST: Final = 3
_TICK: Final = timedelta(microseconds=1)


def lttb(points: Sequence[Point], limit: int) -> list[Point]:
    """Return at most `limit` of `points` that keep the shape of the line.

    The first and the last point stay. The others are cut into ``limit - 2`` buckets of equal
    count; of each bucket the point stays that spans the largest triangle with the point kept
    before it and the mean of the bucket after it. Of equal triangles the earliest counts.

    Args:
        points: By time, oldest first.
        limit: 3 at least.

    Raises:
        InvalidData: `limit` is below 3.

    Source: S. Steinarsson, "Downsampling Time Series for Visual Representation", University of
        Iceland, 2013, algorithm 4.2.
    """
    if limit < _FEWEST:
        raise InvalidData("limit", limit, f"be at least {_FEWEST}")
    if len(points) <= limit:
        return list(points)
    plane = _plane(points)
    edges = [1 + (len(points) - 2) * number // (limit - 2) for number in range(limit - 1)]
    edges.append(len(points))
    kept = [0]
    with exact():
        for start, end, beyond in zip(edges, edges[1:], edges[2:], strict=False):
            corner = _mean(plane[end:beyond])
            kept.append(_farthest(plane, kept[-1], corner, range(start, end)))
    return [points[index] for index in (*kept, len(points) - 1)]


_Place: TypeAlias = tuple[int, Decimal]


def _plane(points: Sequence[Point]) -> list[_Place]:
    origin = points[0][0]
    return [((time - origin) // _TICK, value) for time, value in points]


def _mean(places: Sequence[_Place]) -> tuple[Decimal, Decimal]:
    count = len(places)
    across = Decimal(sum(x for x, _ in places)) / count
    return across, sum((y for _, y in places), Decimal(0)) / count


def _farthest(
    plane: Sequence[_Place], kept: int, corner: tuple[Decimal, Decimal], bucket: range
) -> int:
    x0, y0 = plane[kept]
    dx, dy = x0 - corner[0], corner[1] - y0
    # Twice the area of the triangle; the half is the same for all of them.
    return max(
        bucket, key=lambda index: abs(dx * (plane[index][1] - y0) - (x0 - plane[index][0]) * dy)
    )
