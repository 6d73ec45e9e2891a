"""Searches the knowledge base: by words, by meaning, and by both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    Float,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
)

from domain.db.objects import literal
from domain.db.unit import Unit
from domain.errors import InvalidData
from domain.research.embedding import Embedder, embedded
from domain.research.models import KnowledgeChunk, KnowledgeDocument
from domain.research.ranking import fused

_HAS_PGVECTOR: Final = text("SELECT to_regtype('vector') IS NOT NULL")
_MOST: Final = 1_000
_CANDIDATES: Final = 5
"""How many times as many candidates each search brings as are wanted."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A part of a document that a search found.

    Args:
        chunk_id: The part.
        path: The document's path.
        title: The document's first heading.
        heading: The headings above the part.
        content: Its text.
        score: Higher is better; comparable within one answer only.
        text_rank: Its place in the search by words, from 1.
        semantic_rank: Its place in the search by meaning, from 1.
    """

    chunk_id: UUID
    path: str
    title: str | None
    heading: str
    content: str
    score: float
    text_rank: int | None = None
    semantic_rank: int | None = None


async def search_text(unit: Unit, words: str, *, limit: int = 10, below: str = "") -> list[Hit]:
    """Return the parts that hold `words`, best first.

    Args:
        unit: Any unit.
        words: As people type them: ``"exact phrase" or -without``; English word forms match.
        limit: At most this many.
        below: Only documents whose path begins with this.

    Raises:
        InvalidData: `words` holds NUL, or `limit` is out of range.
    """
    _check(words, limit)
    wanted = func.websearch_to_tsquery("english", words)
    score = func.ts_rank_cd(KnowledgeChunk.search, wanted)
    found = _parts(score, below).where(KnowledgeChunk.search.op("@@")(wanted))
    ordered = found.order_by(score.desc(), KnowledgeChunk.id).limit(limit)
    hits = await _hits(unit, ordered)
    return [replace(hit, text_rank=place) for place, hit in enumerate(hits, start=1)]


async def search_semantic(
    unit: Unit, embedder: Embedder, question: str, *, limit: int = 10, below: str = ""
) -> list[Hit]:
    """Return the parts whose meaning is nearest to the question's, best first.

    Near is the cosine of the angle between the vectors, which is the score: 1 is the same
    direction. Only vectors of this model are compared. Exact, unless an index was declared for
    the model: see `declare_embedding_index`. pgvector computes it where the server has it.

    Raises:
        InvalidData: As `search_text`; or the model's vector is wrong.
    """
    _check(question, limit)
    (vector,) = await embedded(embedder, [question])
    given = bindparam("question", vector, type_=ARRAY(REAL, dimensions=1))
    if await unit.session.scalar(_HAS_PGVECTOR):
        size = VECTOR(embedder.dimensions)
        apart = cast(KnowledgeChunk.embedding, size).op("<=>", return_type=Float())
        distance: ColumnElement[float] = apart(cast(given, size))
    else:
        distance = 1 - func.research.cosine(KnowledgeChunk.embedding, given, type_=Float())
    # Written out and not a parameter: the planner must see that it is the index's condition.
    model: Any = literal_column(literal(embedder.model), String())
    nearest = (
        _parts(1 - distance, below)
        .where(KnowledgeChunk.embedding_model == model)
        .order_by(distance)
        .limit(limit)
    )
    hits = await _hits(unit, nearest)
    return [replace(hit, semantic_rank=place) for place, hit in enumerate(hits, start=1)]


async def search_knowledge(
    unit: Unit, embedder: Embedder, question: str, *, limit: int = 10, below: str = ""
) -> list[Hit]:
    """Return the best parts by words and by meaning together, best first.

    The two rankings are joined by reciprocal rank fusion: see `domain.research.ranking`.

    Raises:
        InvalidData: As `search_semantic`.
    """
    _check(question, limit)
    wide = min(limit * _CANDIDATES, _MOST)
    by_words = await search_text(unit, question, limit=wide, below=below)
    by_meaning = await search_semantic(unit, embedder, question, limit=wide, below=below)
    known = {hit.chunk_id: hit for hit in (*by_words, *by_meaning)}
    text_ranks = {hit.chunk_id: hit.text_rank for hit in by_words}
    semantic_ranks = {hit.chunk_id: hit.semantic_rank for hit in by_meaning}
    return [
        replace(
            known[key],
            score=score,
            text_rank=text_ranks.get(key),
            semantic_rank=semantic_ranks.get(key),
        )
        for key, score in fused([list(text_ranks), list(semantic_ranks)])[:limit]
    ]


def _check(words: str, limit: int) -> None:
    if "\x00" in words:
        raise InvalidData("words", words, "hold no NUL character")
    if not 1 <= limit <= _MOST:
        raise InvalidData("limit", limit, f"lie between 1 and {_MOST}")


def _parts(score: Any, below: str) -> Select[*tuple[Any, ...]]:
    statement = select(
        KnowledgeChunk.id,
        KnowledgeDocument.path,
        KnowledgeDocument.title,
        KnowledgeChunk.heading,
        KnowledgeChunk.content,
        score,
    ).join(KnowledgeDocument, KnowledgeDocument.id == KnowledgeChunk.document_id)
    if below:
        statement = statement.where(KnowledgeDocument.path.startswith(below, autoescape=True))
    return statement


async def _hits(unit: Unit, statement: Select[*tuple[Any, ...]]) -> Sequence[Hit]:
    return [Hit(*row) for row in await unit.session.execute(statement)]
