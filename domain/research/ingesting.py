"""Brings documents into the knowledge base: bytes, row and searchable parts, together."""

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from domain.clock import now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.research.chunking import Chunk, chunks_of, title_of
from domain.research.embedding import Embedder, embedded
from domain.research.models import KnowledgeChunk, KnowledgeDocument
from domain.research.repositories import KnowledgeChunkRepository, KnowledgeDocumentRepository
from domain.storage import Staged
from domain.storage.content_types import content_type_of
from domain.storage.keys import checked_name

LARGEST: Final = 10_000_000
"""Bytes of one document."""

_ROOT: Final = "knowledge"


@dataclass(frozen=True, slots=True)
class Ingested:
    """What ingesting did.

    Args:
        document: The stored document.
        chunks: How many parts it has.
        is_changed: False when the same bytes were there, embedded by the same model.
    """

    document: KnowledgeDocument
    chunks: int
    is_changed: bool


async def ingest_document(
    unit: UnitOfWork,
    staged: Staged,
    path: str,
    content: str | bytes,
    *,
    embedder: Embedder | None = None,
) -> Ingested:
    """Put a text document into the knowledge base, or replace the one at this path.

    Readers see the old parts or the new ones, never a mixture. The object is tied to the
    transaction by `staged`: see `Staged`.

    Args:
        unit: A unit of staff or a trusted job.
        staged: Opened outside the transaction.
        path: Its place, for example ``options/strategies.md``.
        content: Markdown or plain text, UTF-8.
        embedder: The model for semantic search; None leaves embeddings out.

    Raises:
        InvalidData: The path is unusable, the content no text, or the model's vectors are wrong.
        Unavailable: The object store cannot be reached.
    """
    raw = content.encode() if isinstance(content, str) else content
    words = _text_of(checked_name(path), raw)
    await unit.lock_key(f"research.knowledge:{path}")
    documents = unit.repository(KnowledgeDocumentRepository)
    document = await documents.at(path)
    digest = hashlib.sha256(raw).digest()
    if document is not None and document.sha256 == digest:
        count = await _unchanged(unit, document, embedder)
        if count is not None:
            return Ingested(document, count, is_changed=False)
    parts = await _embedded_parts(unit, chunks_of(words), embedder)
    stored = await staged.put(f"{_ROOT}/{path}", raw, limit=LARGEST)
    if document is None:
        document = documents.add(
            KnowledgeDocument(
                path=path,
                object_key=stored.key,
                content_type=content_type_of(path),
                sha256=digest,
                title=title_of(words),
            )
        )
    document.sha256, document.title, document.updated_at = digest, title_of(words), now()
    await unit.flush()
    await _replace(unit, document, parts, embedder.model if embedder else None)
    return Ingested(document, len(parts), is_changed=True)


async def remove_document(unit: UnitOfWork, staged: Staged, document: KnowledgeDocument) -> None:
    """Remove a document with its parts; its object goes when `staged` has ended well."""
    await unit.session.delete(document)
    await unit.flush()
    staged.delete(document.object_key)


def _text_of(path: str, raw: bytes) -> str:
    if not content_type_of(path).startswith("text/"):
        raise InvalidData("path", path, "end like a text: .md, .txt or .csv")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidData("content", path, "be UTF-8 text") from None
    if "\x00" in text:
        raise InvalidData("content", path, "hold no NUL character")
    return text


async def _unchanged(
    unit: UnitOfWork, document: KnowledgeDocument, embedder: Embedder | None
) -> int | None:
    """Return how many parts there are when all were embedded by this model, else None."""
    of_document = KnowledgeChunk.document_id == document.id
    counts = select(
        func.count(),
        func.count().filter(KnowledgeChunk.embedding_model == (embedder and embedder.model)),
    ).where(of_document)
    total, embedded_count = (await unit.session.execute(counts)).one()
    return total if embedder is None or total == embedded_count else None


async def _embedded_parts(
    unit: UnitOfWork, parts: list[Chunk], embedder: Embedder | None
) -> list[tuple[Chunk, list[float] | None]]:
    if embedder is None or not parts:
        return [(part, None) for part in parts]
    known = (
        select(func.cardinality(KnowledgeChunk.embedding))
        .where(KnowledgeChunk.embedding_model == embedder.model)
        .limit(1)
    )
    dimensions = (await unit.session.scalars(known)).first()
    if dimensions not in {None, embedder.dimensions}:
        rule = f"be {dimensions}, as in the vectors of {embedder.model} that are stored"
        raise InvalidData("dimensions", embedder.dimensions, rule)
    texts = [f"{part.heading}\n\n{part.content}".strip() for part in parts]
    return list(zip(parts, await embedded(embedder, texts), strict=True))


async def _replace(
    unit: UnitOfWork,
    document: KnowledgeDocument,
    parts: list[tuple[Chunk, list[float] | None]],
    model: str | None,
) -> None:
    chunks = unit.repository(KnowledgeChunkRepository)
    await chunks.delete_where(KnowledgeChunk.document_id == document.id)
    for place, (part, vector) in enumerate(parts):
        chunks.add(
            KnowledgeChunk(
                document_id=document.id,
                ordinal=place,
                heading=part.heading,
                content=part.content,
                embedding=vector,
                embedding_model=model if vector else None,
            )
        )
    await unit.flush()
