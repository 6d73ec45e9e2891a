"""A small deterministic embedding model, and texts for it."""

import hashlib
import math
import re
from collections.abc import Sequence

from domain.demo import files


class BagOfWords:
    """Counts hashed words: texts that share words are near. Remembers what it was asked."""

    def __init__(self, dimensions: int = 256, model: str = "bag-of-words") -> None:
        self.dimensions = dimensions
        self.model = model
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked.extend(texts)
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        counts = [0.0] * self.dimensions
        for word in re.findall(r"[a-z]{3,}", text.lower()):
            digest = hashlib.sha256(word[:6].encode()).digest()
            counts[int.from_bytes(digest[:4]) % self.dimensions] += 1.0
        length = math.sqrt(sum(count * count for count in counts))
        return [count / length for count in counts] if length else [1.0, *counts[1:]]


STRATEGIES = "knowledge/options/strategies.md"
RISK = "knowledge/trading/risk-management.md"


def demo_text(name: str) -> str:
    """Return a document that travels with the package."""
    return files.content(name).decode()
