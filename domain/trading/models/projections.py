"""Positions, lots, closures and equity: made from facts, rebuilt by replay."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import (
    Amount,
    Base,
    Owned,
    Price,
    Quantity,
    Ratio,
    Record,
    Timestamped,
    tenant_key,
)
from domain.db.types import ClosedText, OpenText
from domain.market.models import Instrument
from domain.trading.models.constraints import SCHEMA, in_portfolio, of_position, to_trade
from domain.trading.models.portfolios import Portfolio
from domain.trading.terms import (
    Side,
)

# A generated column may not read another one, so both spell it out.
_MARKET_VALUE = (
    "CASE WHEN is_inverse THEN round(-quantity * multiplier / nullif(current_price, 0), 18)"
    " ELSE quantity * multiplier * current_price END"
)


class PositionStatus(StrEnum):
    """The state of one flat-to-flat cycle; void: a replay found that it never was."""

    OPEN = "open"
    CLOSED = "closed"
    VOID = "void"


class Position(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One flat-to-flat cycle of one key: portfolio, instrument, strategy, reference."""

    __tablename__ = "positions"
    __table_args__ = (
        tenant_key(),
        in_portfolio(),
        to_trade("opening_trade_id"),
        to_trade("last_trade_id"),
        UniqueConstraint(
            "user_id",
            "portfolio_id",
            "instrument_id",
            "strategy",
            "position_ref",
            "cycle",
            postgresql_nulls_not_distinct=True,
            name="uq_positions_cycle",
        ),
        Index(
            "uq_positions_open",
            "portfolio_id",
            "instrument_id",
            "strategy",
            "position_ref",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("status = 'open'"),
        ),
        Index("ix_positions_user", "user_id", "status", text("opened_at DESC")),
        Index("ix_positions_opened", text("opened_at DESC"), text("id DESC")),
        Index("ix_positions_instrument", "instrument_id", postgresql_where=text("status = 'open'")),
        CheckConstraint("(status = 'open') = (quantity <> 0)", name="open_means_quantity"),
        CheckConstraint(
            "quantity <> 0 OR (open_value = 0 AND open_fees = 0)", name="flat_holds_nothing"
        ),
        CheckConstraint("abs(quantity) <= peak_quantity", name="peak_is_peak"),
        CheckConstraint("(status = 'closed') = (closed_at IS NOT NULL)", name="closed_has_time"),
        CheckConstraint("closed_at >= opened_at", name="closed_after_opened"),
        {"schema": SCHEMA, "comment": "Flat-to-flat position cycles: a projection of trades"},
    )

    portfolio_id: Mapped[UUID] = mapped_column(comment="The portfolio")
    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"), comment="What is held"
    )
    cycle: Mapped[int] = mapped_column(comment="Counts the cycles of the key from 1")
    status: Mapped[PositionStatus] = mapped_column(
        ClosedText(PositionStatus), comment="open, closed or void"
    )
    quantity: Mapped[Quantity] = mapped_column(comment="Signed: negative is short")
    peak_quantity: Mapped[Quantity] = mapped_column(comment="Largest absolute quantity")
    multiplier: Mapped[Quantity] = mapped_column(comment="The instrument's multiplier")
    currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), comment="Currency of the amounts"
    )
    open_value: Mapped[Amount] = mapped_column(comment="Cost basis, signed, without fees")
    open_fees: Mapped[Amount] = mapped_column(comment="Fees paid for what is still open")
    realized_gross_pnl: Mapped[Amount] = mapped_column(comment="Realized profit before fees")
    realized_fees: Mapped[Amount] = mapped_column(comment="Fees of what was closed")
    opened_at: Mapped[datetime] = mapped_column(comment="First trade of the cycle, UTC")
    opening_side: Mapped[Side] = mapped_column(ClosedText(Side), comment="buy: long, sell: short")
    is_inverse: Mapped[bool] = mapped_column(comment="The instrument is quoted inversely")
    closed_quantity: Mapped[Quantity] = mapped_column(comment="Closed so far, signed like the lots")
    closed_value: Mapped[Amount] = mapped_column(comment="Proceeds of it, signed")
    last_executed_at: Mapped[datetime] = mapped_column(comment="Last event of the key, UTC")
    last_sequence: Mapped[int] = mapped_column(BigInteger, comment="Its sequence")
    last_key: Mapped[str] = mapped_column(comment="Its key: a trade ordered before it is late")
    residue: Mapped[str | None] = mapped_column(
        default=None, comment="What 18 decimals cannot hold of split quantities, two fractions"
    )
    entry_price: Mapped[Price | None] = mapped_column(
        default=None,
        comment="Average entry price of what is open, of all when closed; quote currency a unit",
    )
    exit_price: Mapped[Price | None] = mapped_column(
        default=None, comment="Average exit price, quote currency a unit"
    )
    closed_at: Mapped[datetime | None] = mapped_column(default=None, comment="When flat, UTC")
    strategy: Mapped[str | None] = mapped_column(default=None, comment="Part of the key")
    position_ref: Mapped[str | None] = mapped_column(default=None, comment="Part of the key")
    opening_trade_id: Mapped[UUID | None] = mapped_column(default=None, comment="First trade")
    last_trade_id: Mapped[UUID | None] = mapped_column(default=None, comment="Last trade")
    current_price: Mapped[Price | None] = mapped_column(default=None, comment="Last mark")
    marked_at: Mapped[datetime | None] = mapped_column(default=None, comment="When marked, UTC")
    leverage: Mapped[Ratio | None] = mapped_column(default=None, comment="Leverage in force")
    margin_used: Mapped[Amount | None] = mapped_column(default=None, comment="Margin held")
    liquidation_price: Mapped[Price | None] = mapped_column(
        default=None, comment="Price at which the venue closes it"
    )
    confidence: Mapped[Ratio | None] = mapped_column(default=None, comment="Agent's, 0 to 1")
    mae: Mapped[Amount | None] = mapped_column(
        default=None, comment="Maximum adverse excursion, `currency`"
    )
    mfe: Mapped[Amount | None] = mapped_column(
        default=None, comment="Maximum favourable excursion, `currency`"
    )
    side: Mapped[str] = mapped_column(
        Computed("CASE opening_side WHEN 'buy' THEN 'long' ELSE 'short' END", persisted=True),
        init=False,
        comment="long or short",
    )
    market_value: Mapped[Decimal | None] = mapped_column(
        Computed(_MARKET_VALUE, persisted=True),
        init=False,
        comment="Signed value at the mark, `currency`",
    )
    realized_pnl: Mapped[Decimal] = mapped_column(
        Computed("realized_gross_pnl - realized_fees", persisted=True),
        init=False,
        comment="Realized profit after fees",
    )
    unrealized_pnl: Mapped[Decimal | None] = mapped_column(
        Computed(f"{_MARKET_VALUE} - open_value - open_fees", persisted=True),
        init=False,
        comment="Profit at the mark after opening fees",
    )

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")

    def __str__(self) -> str:
        return f"{self.side} {self.quantity:f}"


class Lot(Owned, Record, kw_only=True, eq=False, repr=False):
    """What one opening trade left open. Values are totals, so that nothing is ever rounded away."""

    __tablename__ = "lots"
    __table_args__ = (
        tenant_key(),
        of_position(),
        to_trade("opening_trade_id"),
        UniqueConstraint("user_id", "position_id", "lot_key"),
        Index(
            "ix_lots_open",
            "position_id",
            "acquired_at",
            postgresql_where=text("quantity_remaining <> 0"),
        ),
        Index(None, "opening_trade_id"),
        CheckConstraint(
            "quantity_opened <> 0 AND sign(quantity_remaining) IN (0, sign(quantity_opened))",
            name="one_sign",
        ),
        CheckConstraint(
            "abs(quantity_remaining) <= abs(quantity_opened)", name="remaining_within_opened"
        ),
        CheckConstraint(
            "(quantity_remaining = 0) = (closed_at IS NOT NULL)", name="closed_has_time"
        ),
        CheckConstraint(
            "quantity_remaining <> 0 OR (value_remaining = 0 AND fees_remaining = 0)",
            name="flat_holds_nothing",
        ),
        {"schema": SCHEMA, "comment": "Tax lots: a projection of trades"},
    )

    position_id: Mapped[UUID] = mapped_column(comment="The cycle it belongs to")
    opening_trade_id: Mapped[UUID] = mapped_column(comment="The trade that opened it here")
    lot_key: Mapped[str] = mapped_column(comment="Stable name: survives a replay")
    origin: Mapped[str] = mapped_column(OpenText(), comment="trade, assignment, conversion, …")
    acquired_at: Mapped[datetime] = mapped_column(
        comment="Start of the holding period, UTC; carried through conversions"
    )
    sequence: Mapped[int] = mapped_column(
        BigInteger, comment="Sequence of the acquiring trade: order among lots of one instant"
    )
    opened_at: Mapped[datetime] = mapped_column(comment="When it came into this position, UTC")
    quantity_opened: Mapped[Quantity] = mapped_column(comment="Signed, in today's units")
    quantity_remaining: Mapped[Quantity] = mapped_column(comment="Signed, still open")
    value_opened: Mapped[Amount] = mapped_column(comment="Signed cost without fees")
    value_remaining: Mapped[Amount] = mapped_column(comment="Cost of what is still open")
    fees_opened: Mapped[Amount] = mapped_column(comment="Opening fees")
    fees_remaining: Mapped[Amount] = mapped_column(comment="Opening fees of what is still open")
    parent_lot_key: Mapped[str | None] = mapped_column(
        default=None, comment="The lot it was converted from"
    )
    closed_at: Mapped[datetime | None] = mapped_column(default=None, comment="When used up, UTC")
    residue: Mapped[str | None] = mapped_column(
        default=None, comment="What 18 decimals cannot hold of split quantities, two fractions"
    )

    position: Mapped[Position] = relationship(init=False, lazy="raise_on_sql", viewonly=True)


class LotClosure(Owned, Record, kw_only=True, eq=False, repr=False):
    """A piece of a lot matched with a closing trade: the unit of realized profit."""

    __tablename__ = "lot_closures"
    __table_args__ = (
        of_position(),
        to_trade("closing_trade_id"),
        UniqueConstraint("user_id", "position_id", "lot_key", "closing_trade_id"),
        Index("ix_lot_closures_time", "user_id", "closed_at"),
        Index(None, "closing_trade_id"),
        CheckConstraint("quantity <> 0", name="quantity_not_zero"),
        {"schema": SCHEMA, "comment": "Realized profit, one row a matched piece"},
    )

    position_id: Mapped[UUID] = mapped_column(comment="The cycle it belongs to")
    closing_trade_id: Mapped[UUID] = mapped_column(comment="The trade that closed it")
    lot_key: Mapped[str] = mapped_column(comment="The lot it was taken from")
    quantity: Mapped[Quantity] = mapped_column(comment="Signed like the lot")
    open_value: Mapped[Amount] = mapped_column(comment="Cost of the piece, signed")
    close_value: Mapped[Amount] = mapped_column(comment="Proceeds of the piece, signed")
    open_fees: Mapped[Amount] = mapped_column(comment="Opening fees of the piece")
    close_fees: Mapped[Amount] = mapped_column(comment="Closing fees of the piece")
    acquired_at: Mapped[datetime] = mapped_column(comment="Start of the holding period, UTC")
    closed_at: Mapped[datetime] = mapped_column(comment="When it was closed, UTC")
    gross_pnl: Mapped[Decimal] = mapped_column(
        Computed("close_value - open_value", persisted=True),
        init=False,
        comment="Profit before fees",
    )
    net_pnl: Mapped[Decimal] = mapped_column(
        Computed("close_value - open_value - open_fees - close_fees", persisted=True),
        init=False,
        comment="Profit after opening and closing fees",
    )

    position: Mapped[Position] = relationship(init=False, lazy="raise_on_sql", viewonly=True)


class EquitySnapshot(Owned, Base, kw_only=True, eq=False, repr=False):
    """What a portfolio was worth at one instant: a projection of cash, positions and prices."""

    __tablename__ = "equity_snapshots"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "portfolio_id"],
            ["trading.portfolios.user_id", "trading.portfolios.id"],
            ondelete="CASCADE",
        ),
        CheckConstraint("equity = cash + position_value", name="equity_adds_up"),
        {"schema": SCHEMA, "comment": "Equity curve, one row a portfolio and instant"},
    )

    portfolio_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The portfolio")
    time: Mapped[datetime] = mapped_column(primary_key=True, comment="The instant, UTC")
    currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), comment="The portfolio's base currency"
    )
    equity: Mapped[Amount] = mapped_column(comment="Cash and positions")
    cash: Mapped[Amount] = mapped_column(comment="Cash of all currencies, converted")
    position_value: Mapped[Amount] = mapped_column(comment="Positions at market, converted")
    realized_pnl: Mapped[Amount] = mapped_column(
        comment="Realized to date with income and costs: equity less contributions and unrealized"
    )
    unrealized_pnl: Mapped[Amount] = mapped_column(comment="Open profit after opening fees")
    net_contributions: Mapped[Amount] = mapped_column(comment="Deposits less withdrawals to date")
    margin_used: Mapped[Amount | None] = mapped_column(default=None, comment="Margin held")

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
