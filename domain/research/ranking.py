"""Joins rankings of different searches into one. Pure."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Final, TypeVar

K = TypeVar("K", bound=Hashable)

SMOOTHING: Final = 60
"""The constant of the source: how little the first places stand out."""


def fused(rankings: Iterable[Sequence[K]], *, smoothing: int = SMOOTHING) -> list[tuple[K, float]]:
    """Return (item, score), best first: reciprocal rank fusion.

    An item scores the sum over the rankings of ``1 / (smoothing + rank)``, with ranks from 1;
    where it does not appear it scores nothing. Only places count, so that scores of different
    kinds need no common scale. Ties keep the order in which items first appear.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods", SIGIR 2009.

    Example:
        >>> [item for item, _ in fused([["a", "b"], ["b", "c"]])]
        ['b', 'a', 'c']
    """
    scores: dict[K, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(dict.fromkeys(ranking), start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (smoothing + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
