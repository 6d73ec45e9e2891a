"""The table as somebody would map it for another admin: plain columns, two relations."""

import datetime
import uuid
from decimal import Decimal

from sqlalchemy import ForeignKey
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
    """A journal entry."""

    __tablename__ = "journal_entries"
    __table_args__ = {"schema": "journal"}
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    notes: Mapped[str | None]
    portfolio_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Portfolio.id))
    portfolio: Mapped[Portfolio | None] = relationship()
