"""Watchlists: instruments that somebody follows, in an order of their own."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Base, Owned, Price, Record, Timestamped, Versioned, tenant_key
from domain.market.models import Instrument

_SCHEMA = "research"


class Watchlist(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A named list of instruments."""

    __tablename__ = "watchlists"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("user_id", "name"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
        {"schema": _SCHEMA, "comment": "Named lists of instruments"},
    )

    name: Mapped[str] = mapped_column(comment="Name, unique for the user")
    description: Mapped[str | None] = mapped_column(default=None, comment="What it is for")

    def __str__(self) -> str:
        return self.name


class WatchlistItem(Owned, Base, kw_only=True, eq=False, repr=False):
    """An instrument on a watchlist."""

    __tablename__ = "watchlist_items"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "watchlist_id"],
            ["research.watchlists.user_id", "research.watchlists.id"],
            ondelete="CASCADE",
        ),
        Index(None, "instrument_id"),
        {"schema": _SCHEMA, "comment": "Instruments on watchlists"},
    )

    watchlist_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The list")
    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"),
        primary_key=True,
        comment="What is watched",
    )
    sort_order: Mapped[int] = mapped_column(default=0, comment="Place in the list, from 0")
    note: Mapped[str | None] = mapped_column(default=None, comment="Why it is watched")
    target_price: Mapped[Price | None] = mapped_column(
        default=None, comment="Price to wait for, quote currency a unit"
    )
    added_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When it was put on the list, UTC"
    )

    watchlist: Mapped[Watchlist] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")
