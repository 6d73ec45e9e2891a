"""The table as somebody would map it for another admin: plain columns, two relations."""

import datetime
import uuid
from decimal import Decimal

from sqlalchemy import ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The registry of the rivals' models."""


class Instrument(Base):
    """What is traded."""

    __tablename__ = "instruments"
    __table_args__ = {"schema": "market"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    symbol: Mapped[str]

    def __str__(self) -> str:
        return self.symbol


class Portfolio(Base):
    """Where it is booked."""

    __tablename__ = "portfolios"
    __table_args__ = {"schema": "trading"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]

    def __str__(self) -> str:
        return self.name


class Trade(Base):
    """An execution."""

    __tablename__ = "trades"
    __table_args__ = {"schema": "trading"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    executed_at: Mapped[datetime.datetime]
    side: Mapped[str | None]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal]
    gross_amount: Mapped[Decimal]
    currency: Mapped[str]
    kind: Mapped[str]
    status: Mapped[str]
    portfolio_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Portfolio.id))
    instrument_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Instrument.id))
    portfolio: Mapped[Portfolio] = relationship()
    instrument: Mapped[Instrument] = relationship()


class Entry(Base):
    """A journal entry, with every column that our own form has."""

    __tablename__ = "journal_entries"
    __table_args__ = {"schema": "journal"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    entry_on: Mapped[datetime.date]
    kind: Mapped[str]
    title: Mapped[str | None]
    portfolio_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Portfolio.id))
    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Instrument.id))
    setup_id: Mapped[uuid.UUID | None]
    strategy: Mapped[str | None]
    direction: Mapped[str | None]
    planned_entry: Mapped[Decimal | None]
    planned_stop: Mapped[Decimal | None]
    planned_target: Mapped[Decimal | None]
    initial_risk: Mapped[Decimal | None]
    thesis: Mapped[str | None]
    legs: Mapped[list[str] | None] = mapped_column(JSONB)
    entry_at: Mapped[datetime.datetime | None]
    entry_price: Mapped[Decimal | None]
    exit_on: Mapped[datetime.date | None]
    exit_at: Mapped[datetime.datetime | None]
    exit_price: Mapped[Decimal | None]
    mae: Mapped[Decimal | None]
    mfe: Mapped[Decimal | None]
    pnl: Mapped[Decimal | None]
    pnl_percent: Mapped[Decimal | None]
    fees: Mapped[Decimal | None]
    currency: Mapped[str | None]
    rating: Mapped[int | None]
    satisfied: Mapped[bool | None]
    followed_plan: Mapped[bool | None]
    emotion: Mapped[str | None]
    notes: Mapped[str | None]
    lessons: Mapped[str | None]
    portfolio: Mapped[Portfolio | None] = relationship()
    instrument: Mapped[Instrument | None] = relationship()


class Attachment(Base):
    """A file of an entry."""

    __tablename__ = "attachments"
    __table_args__ = {"schema": "journal"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    entry_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Entry.id))
    filename: Mapped[str]
    caption: Mapped[str | None]
    entry: Mapped[Entry] = relationship()


EDITED = (
    "entry_on", "kind", "title", "portfolio", "instrument", "strategy", "direction",
    "planned_entry", "planned_stop", "planned_target", "initial_risk", "thesis", "legs", "entry_at",
    "entry_price", "exit_on", "exit_at", "exit_price", "mae", "mfe", "pnl", "pnl_percent", "fees",
    "currency", "rating", "satisfied", "followed_plan", "emotion", "notes", "lessons",
)  # fmt: skip
"""The fields of every form: those of our own, in its order."""
