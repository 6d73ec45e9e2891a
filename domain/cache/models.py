"""What is stored about the cache: what it could not be told."""

from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, Identity, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.db.orm import Base


class PendingInvalidation(Base, kw_only=True, eq=False, repr=False):
    """Stale answers that the cache's server did not hear of when the writer committed."""

    __tablename__ = "pending_invalidations"
    __table_args__ = ({"schema": "cache", "comment": "Stale answers still to be taken out"},)

    id: Mapped[int] = mapped_column(
        BigInteger, Identity(always=True), primary_key=True, init=False, comment="Counts up"
    )
    keys: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="Keys of single answers")
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), comment="Keys of tags")
    created_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When the writer's transaction began, UTC"
    )
