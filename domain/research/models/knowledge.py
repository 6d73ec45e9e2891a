"""Knowledge: documents whose bytes are in the object store, cut into chunks that are searched."""

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    REAL,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Record, Timestamped

_SCHEMA = "research"
_SEARCH = (
    "setweight(to_tsvector('english'::regconfig, heading), 'A')"
    " || setweight(to_tsvector('english'::regconfig, content), 'B')"
)


class KnowledgeDocument(Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A document of the knowledge base. Global: no tenant owns it."""

    __tablename__ = "knowledge_documents"
    __table_args__ = (
        UniqueConstraint("path"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        CheckConstraint("object_key LIKE 'knowledge/%'", name="object_key_is_knowledge"),
        {"schema": _SCHEMA, "comment": "Documents of the knowledge base"},
    )

    path: Mapped[str] = mapped_column(comment="Its place, for example options/strategies.md")
    object_key: Mapped[str] = mapped_column(comment="Where its bytes are in the object store")
    content_type: Mapped[str] = mapped_column(comment="Media type, from the name")
    sha256: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of the bytes")
    title: Mapped[str | None] = mapped_column(default=None, comment="First heading")

    def __str__(self) -> str:
        return self.path


class KnowledgeChunk(Record, kw_only=True, eq=False, repr=False):
    """A part of a document under one heading: what a search finds."""

    __tablename__ = "knowledge_chunks"
    __table_args__ = (
        UniqueConstraint("document_id", "ordinal"),
        Index("ix_knowledge_chunks_search", "search", postgresql_using="gin"),
        Index(
            "ix_knowledge_chunks_model",
            "embedding_model",
            postgresql_where=text("embedding IS NOT NULL"),
        ),
        CheckConstraint("ordinal >= 0", name="ordinal_not_negative"),
        CheckConstraint(
            "(embedding IS NULL) = (embedding_model IS NULL)", name="embedding_names_model"
        ),
        {"schema": _SCHEMA, "comment": "Parts of documents with their embeddings"},
    )

    document_id: Mapped[UUID] = mapped_column(
        ForeignKey("research.knowledge_documents.id", ondelete="CASCADE"), comment="The document"
    )
    ordinal: Mapped[int] = mapped_column(comment="Place in the document, from 0")
    heading: Mapped[str] = mapped_column(comment="Headings above it, outermost first, joined by >")
    content: Mapped[str] = mapped_column(comment="The text, Markdown")
    embedding: Mapped[list[float] | None] = mapped_column(
        # Not pgvector's type, which not every server has; a search casts it where it has.
        ARRAY(REAL, dimensions=1),
        default=None,
        deferred=True,
        comment="Direction of its meaning; dimensions are the model's",
    )
    embedding_model: Mapped[str | None] = mapped_column(
        default=None, comment="The model that made the embedding"
    )
    search: Mapped[str | None] = mapped_column(
        TSVECTOR,
        Computed(_SEARCH, persisted=True),
        init=False,
        deferred=True,
        comment="Words of heading and text, weighted",
    )

    document: Mapped[KnowledgeDocument] = relationship(
        init=False, lazy="raise_on_sql", viewonly=True
    )

    def __str__(self) -> str:
        return self.heading or f"Part {self.ordinal}"
