"""Trades and cash movements: append-only facts."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import (
    Amount,
    Owned,
    Price,
    Quantity,
    Ratio,
    Record,
    tenant_key,
)
from domain.db.types import ClosedText, OpenText
from domain.market.models import Instrument
from domain.trading.models.constraints import SCHEMA, in_portfolio, to_trade
from domain.trading.models.portfolios import Portfolio
from domain.trading.terms import (
    CashKind,
    PositionEffect,
    Side,
    TradeKind,
)


class TradeStatus(StrEnum):
    """Whether a trade counts."""

    BOOKED = "booked"
    CORRECTED = "corrected"
    BUSTED = "busted"
    REVERTED = "reverted"


class CashStatus(StrEnum):
    """Whether a cash movement counts; reverted: the import that brought it was taken back."""

    BOOKED = "booked"
    REVERTED = "reverted"


class Trade(Owned, Record, kw_only=True, eq=False, repr=False):
    """One execution. Never updated but for its status; corrected by a new row."""

    __tablename__ = "trades"
    __table_args__ = (
        tenant_key(),
        in_portfolio(),
        ForeignKeyConstraint(
            ["user_id", "import_batch_id"],
            ["trading.import_batches.user_id", "trading.import_batches.id"],
        ),
        to_trade("corrects_trade_id"),
        Index(
            "uq_trades_dedupe_key",
            "user_id",
            "portfolio_id",
            "source",
            "dedupe_key",
            unique=True,
            postgresql_where=text("status <> 'reverted'"),
        ),
        Index(
            "ix_trades_position_key",
            "portfolio_id",
            "instrument_id",
            "executed_at",
            "sequence",
            "dedupe_key",
            postgresql_where=text("status = 'booked'"),
        ),
        Index(
            "ix_trades_portfolio_time", "portfolio_id", text("executed_at DESC"), text("id DESC")
        ),
        Index("ix_trades_user_time", "user_id", text("executed_at DESC"), text("id DESC")),
        Index("ix_trades_time", text("executed_at DESC"), text("id DESC")),
        Index("ix_trades_instrument", "instrument_id", text("executed_at DESC"), text("id DESC")),
        Index(
            "ix_trades_link_key",
            "portfolio_id",
            "link_key",
            postgresql_where=text("link_key IS NOT NULL"),
        ),
        Index(
            "ix_trades_batch",
            "import_batch_id",
            postgresql_where=text("import_batch_id IS NOT NULL"),
        ),
        Index(
            "ix_trades_external_id",
            "portfolio_id",
            "external_id",
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        Index(
            "uq_trades_corrects",
            "corrects_trade_id",
            unique=True,
            postgresql_where=text("corrects_trade_id IS NOT NULL AND status <> 'reverted'"),
        ),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("side IS NOT NULL OR kind IN ('expiration', 'bust')", name="side_given"),
        CheckConstraint("kind <> 'bust' OR corrects_trade_id IS NOT NULL", name="bust_names_trade"),
        CheckConstraint(
            "fee_currency <> currency OR fees_settled = commission + fees", name="fees_settled_sum"
        ),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_unit"),
        CheckConstraint("fx_rate_to_base > 0", name="fx_rate_positive"),
        CheckConstraint("length(dedupe_key) BETWEEN 1 AND 200", name="dedupe_key_length"),
        {"schema": SCHEMA, "comment": "Executions: append-only facts"},
    )

    portfolio_id: Mapped[UUID] = mapped_column(comment="The portfolio it is booked to")
    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"), comment="What was traded"
    )
    side: Mapped[Side | None] = mapped_column(
        ClosedText(Side),
        comment="buy or sell; NULL for an expiration, which closes whatever is open",
    )
    quantity: Mapped[Quantity] = mapped_column(comment="Units or contracts, always positive")
    price: Mapped[Price] = mapped_column(comment="Quote currency a unit; may be negative")
    gross_amount: Mapped[Amount] = mapped_column(
        comment="Value of the quantity in `currency`, signed like the price; the broker's wins"
    )
    currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), comment="Currency of amounts and profit"
    )
    fee_currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), comment="Currency of commission and fees"
    )
    executed_at: Mapped[datetime] = mapped_column(comment="When the venue filled it, UTC")
    source: Mapped[str] = mapped_column(OpenText(), comment="Broker format or program")
    dedupe_key: Mapped[str] = mapped_column(
        comment="The broker's id, else hash of the row and ordinal; unique for the source"
    )
    kind: Mapped[TradeKind] = mapped_column(
        ClosedText(TradeKind), default=TradeKind.FILL, comment="What made the trade happen"
    )
    status: Mapped[TradeStatus] = mapped_column(
        ClosedText(TradeStatus), default=TradeStatus.BOOKED, comment="Whether it counts"
    )
    commission: Mapped[Amount] = mapped_column(
        default=Decimal(0), comment="Broker's commission, fee currency; negative: rebate"
    )
    fees: Mapped[Amount] = mapped_column(
        default=Decimal(0), comment="Exchange and regulatory fees, fee currency"
    )
    fees_settled: Mapped[Amount] = mapped_column(
        default=Decimal(0), comment="Commission and fees in `currency`"
    )
    sequence: Mapped[int] = mapped_column(
        BigInteger, default=0, comment="Order among trades of one instant, from the source"
    )
    position_effect: Mapped[PositionEffect | None] = mapped_column(
        ClosedText(PositionEffect), default=None, comment="What the broker says it does"
    )
    strategy: Mapped[str | None] = mapped_column(
        default=None, comment="Strategy whose position this is"
    )
    position_ref: Mapped[str | None] = mapped_column(
        default=None, comment="Position reference when hedging"
    )
    fx_rate_to_base: Mapped[Ratio | None] = mapped_column(
        default=None, comment="Portfolio's base currency for one unit of `currency`, at trade time"
    )
    leverage: Mapped[Ratio | None] = mapped_column(default=None, comment="Leverage chosen")
    confidence: Mapped[Ratio | None] = mapped_column(
        default=None, comment="Confidence of the agent, 0 to 1"
    )
    order_type: Mapped[str | None] = mapped_column(
        OpenText(), default=None, comment="market, limit, stop, …"
    )
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The broker's id")
    link_key: Mapped[str | None] = mapped_column(
        default=None, comment="Shared by the trades of one event: assignment, conversion"
    )
    corrects_trade_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The trade that this one corrects or busts"
    )
    import_batch_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The import that brought it"
    )
    lot_selection: Mapped[list[str]] = mapped_column(
        JSONB, default_factory=list, comment="Lots to close, for the specific method"
    )
    settles_on: Mapped[date | None] = mapped_column(default=None, comment="Settlement day")
    description: Mapped[str | None] = mapped_column(default=None, comment="The source's text")
    raw: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, default=None, comment="The source's row as it came"
    )
    signed_quantity: Mapped[Decimal | None] = mapped_column(
        Computed(
            "CASE side WHEN 'buy' THEN quantity WHEN 'sell' THEN -quantity END", persisted=True
        ),
        init=False,
        comment="Quantity, positive for a buy, negative for a sell",
    )
    booked_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When it was recorded, UTC"
    )

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")

    def __str__(self) -> str:
        return f"{self.side or 'close'} {self.quantity:f} @ {self.price:f}"


class CashMovement(Owned, Record, kw_only=True, eq=False, repr=False):
    """Cash that came or went. Never updated; a difference is another row."""

    __tablename__ = "cash_movements"
    __table_args__ = (
        tenant_key(),
        in_portfolio(),
        to_trade("trade_id"),
        ForeignKeyConstraint(
            ["user_id", "import_batch_id"],
            ["trading.import_batches.user_id", "trading.import_batches.id"],
        ),
        Index(
            "uq_cash_movements_dedupe_key",
            "user_id",
            "portfolio_id",
            "source",
            "dedupe_key",
            unique=True,
            postgresql_where=text("status <> 'reverted'"),
        ),
        Index("ix_cash_movements_balance", "portfolio_id", "currency", "effective_at"),
        Index("ix_cash_movements_user_time", "user_id", text("effective_at DESC"), text("id DESC")),
        Index("ix_cash_movements_time", text("effective_at DESC"), text("id DESC")),
        Index("ix_cash_movements_trade", "trade_id", postgresql_where=text("trade_id IS NOT NULL")),
        Index(
            "ix_cash_movements_batch",
            "import_batch_id",
            postgresql_where=text("import_batch_id IS NOT NULL"),
        ),
        CheckConstraint("length(dedupe_key) BETWEEN 1 AND 240", name="dedupe_key_length"),
        {"schema": SCHEMA, "comment": "Cash that came or went: append-only facts"},
    )

    portfolio_id: Mapped[UUID] = mapped_column(comment="The portfolio")
    kind: Mapped[CashKind] = mapped_column(ClosedText(CashKind), comment="Why cash moved")
    amount: Mapped[Amount] = mapped_column(comment="Signed: positive came in")
    currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), comment="Currency of the amount"
    )
    effective_at: Mapped[datetime] = mapped_column(comment="When it counts, UTC")
    source: Mapped[str] = mapped_column(OpenText(), comment="Broker format or program")
    dedupe_key: Mapped[str] = mapped_column(comment="Unique for the source")
    status: Mapped[CashStatus] = mapped_column(
        ClosedText(CashStatus), default=CashStatus.BOOKED, comment="Whether it counts"
    )
    instrument_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        default=None,
        comment="What paid it: dividends, funding, borrowing",
    )
    trade_id: Mapped[UUID | None] = mapped_column(default=None, comment="The trade behind it")
    import_batch_id: Mapped[UUID | None] = mapped_column(default=None, comment="The import")
    external_id: Mapped[str | None] = mapped_column(default=None, comment="The broker's id")
    description: Mapped[str | None] = mapped_column(default=None, comment="The source's text")
    raw: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, default=None, comment="The source's row as it came"
    )
    booked_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When it was recorded, UTC"
    )

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument | None] = relationship(init=False, lazy="raise_on_sql")
