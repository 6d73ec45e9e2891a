"""Answers that are kept in Redis and never older than a commit.

``declaring`` says what an answer is and what makes it stale; ``engine`` reads, ``invalidation``
watches what is written; ``store`` and ``memory`` keep; ``regions`` and ``tiers`` say how long.
Knows no area: each declares its answers in its own ``cached.py``.
"""

from domain.cache.cache import Cache
from domain.cache.declaring import Audience, CachedRead, Rows, Tier, cached
from domain.cache.reading import CachedReader, answer

__all__ = ["Audience", "Cache", "CachedRead", "CachedReader", "Rows", "Tier", "answer", "cached"]
