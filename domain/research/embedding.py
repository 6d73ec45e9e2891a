"""What an embedding model must offer, and the index that makes its vectors quick to search.

No model is built in: the caller brings one, local or behind an API.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Final, Protocol

from sqlalchemy import Index, text

from domain.db.objects import literal
from domain.errors import InvalidData
from domain.research.models import KnowledgeChunk

_BATCH: Final = 64
_MOST_DIMENSIONS: Final = 16_000
_MOST_INDEXED: Final = 2_000


class Embedder(Protocol):
    """An embedding model.

    Attributes:
        model: Its name; vectors of different models are never compared.
        dimensions: Numbers in each of its vectors.
    """

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector a text, in order."""
        ...


async def embedded(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of `texts`, asked for in batches and checked.

    Raises:
        InvalidData: The model gave another number of vectors or dimensions than it says, or a
            vector without direction.
    """
    if not 1 <= embedder.dimensions <= _MOST_DIMENSIONS:
        rule = f"lie between 1 and {_MOST_DIMENSIONS}"
        raise InvalidData("dimensions", embedder.dimensions, rule)
    vectors: list[list[float]] = []
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        answer = await embedder.embed(batch)
        if len(answer) != len(batch):
            raise InvalidData("embeddings", len(answer), f"be {len(batch)}, one a text")
        vectors.extend(_checked(embedder, vector) for vector in answer)
    return vectors


def _checked(embedder: Embedder, vector: Sequence[float]) -> list[float]:
    if len(vector) != embedder.dimensions:
        rule = f"have the {embedder.dimensions} dimensions of {embedder.model}"
        raise InvalidData("embedding", f"{len(vector)} dimensions", rule)
    numbers = [float(number) for number in vector]
    if not all(map(math.isfinite, numbers)) or not any(numbers):
        raise InvalidData("embedding", embedder.model, "have finite numbers, not all zero")
    return numbers


def declare_embedding_index(model: str, dimensions: int) -> Index:
    """Declare an HNSW index over the vectors of one model; the next migration brings it.

    Without it a search compares all vectors of the model, which is exact, and quick enough for
    tens of thousands. With it a search is approximate.

    Args:
        model: `Embedder.model`.
        dimensions: `Embedder.dimensions`, at most 2,000.

    Raises:
        InvalidData: pgvector cannot index that many dimensions.
    """
    if not 1 <= dimensions <= _MOST_INDEXED:
        raise InvalidData("dimensions", dimensions, f"lie between 1 and {_MOST_INDEXED}")
    mark = hashlib.sha256(model.encode()).hexdigest()[:8]
    index = Index(
        f"ix_knowledge_chunks_hnsw_{mark}",
        text(f"(embedding::vector({dimensions})) vector_cosine_ops"),
        postgresql_using="hnsw",
        postgresql_where=text(f"embedding_model = {literal(model)}"),
    )
    KnowledgeChunk.__table__.append_constraint(index)  # type: ignore[attr-defined]  # a Table
    return index
