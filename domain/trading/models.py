"""What is stored about trading: facts (trades, cash) and the projections made from them.

Facts are append-only: a trigger refuses every change but a trade's status. Positions, lots and
closures are projections: `domain.trading.recording` rebuilds them and `verify` proves them.
Every row carries its tenant, and composite foreign keys keep a tree inside one tenant.
"""

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
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
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
    Versioned,
    tenant_key,
)
from domain.db.types import ClosedText, OpenText
from domain.identity.models import User
from domain.market.models import Instrument
from domain.trading.terms import (
    AssignmentPolicy,
    CashKind,
    CostBasisMethod,
    PositionEffect,
    PositionMode,
    Side,
    TradeKind,
)

_SCHEMA = "trading"

# A generated column may not read another one, so both spell it out.
_MARKET_VALUE = (
    "CASE WHEN is_inverse THEN round(-quantity * multiplier / nullif(current_price, 0), 18)"
    " ELSE quantity * multiplier * current_price END"
)


class TradeStatus(StrEnum):
    """Whether a trade counts."""

    BOOKED = "booked"
    CORRECTED = "corrected"
    BUSTED = "busted"
    REVERTED = "reverted"


class PositionStatus(StrEnum):
    """The state of one flat-to-flat cycle; void: a replay found that it never was."""

    OPEN = "open"
    CLOSED = "closed"
    VOID = "void"


class BatchStatus(StrEnum):
    """Whether an import stands."""

    APPLIED = "applied"
    REVERTED = "reverted"


def _in_portfolio() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["user_id", "portfolio_id"],
        ["trading.portfolios.user_id", "trading.portfolios.id"],
        ondelete="RESTRICT",
    )


def _to_trade(column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["user_id", column], ["trading.trades.user_id", "trading.trades.id"]
    )


class Portfolio(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A set of positions and cash that is measured together."""

    __tablename__ = "portfolios"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("user_id", "name"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
        {"schema": _SCHEMA, "comment": "Sets of positions and cash measured together"},
    )

    name: Mapped[str] = mapped_column(comment="Name, unique for the user")
    base_currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), default="USD", comment="Currency of totals"
    )
    description: Mapped[str | None] = mapped_column(default=None, comment="What it is for")
    cost_basis_method: Mapped[CostBasisMethod] = mapped_column(
        ClosedText(CostBasisMethod),
        default=CostBasisMethod.FIFO,
        comment="Which lots a closing trade consumes; a change needs a replay",
    )
    position_mode: Mapped[PositionMode] = mapped_column(
        ClosedText(PositionMode),
        default=PositionMode.NETTING,
        comment="One position an instrument, or one a reference",
    )
    assignment_policy: Mapped[AssignmentPolicy] = mapped_column(
        ClosedText(AssignmentPolicy),
        default=AssignmentPolicy.SEPARATE,
        comment="Where an assigned option's premium goes",
    )
    broker: Mapped[str | None] = mapped_column(OpenText(), default=None, comment="Broker name")
    external_account: Mapped[str | None] = mapped_column(
        default=None, comment="Account number at the broker, shortened"
    )
    inception_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Start of the track record, UTC; NULL: the first fact"
    )
    archived_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was put away, UTC"
    )

    user: Mapped[User] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return self.name


class ImportBatch(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One file that was imported, with its report; can be reverted as a whole."""

    __tablename__ = "import_batches"
    __table_args__ = (
        tenant_key(),
        _in_portfolio(),
        Index(None, "portfolio_id", "created_at"),
        CheckConstraint(
            "rows_new >= 0 AND rows_duplicate >= 0 AND rows_rejected >= 0"
            " AND rows_new + rows_duplicate + rows_rejected = rows_total",
            name="rows_add_up",
        ),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        {"schema": _SCHEMA, "comment": "Imported files and their reports"},
    )

    portfolio_id: Mapped[UUID] = mapped_column(comment="Where the rows went")
    source: Mapped[str] = mapped_column(OpenText(), comment="Format of the file")
    filename: Mapped[str | None] = mapped_column(default=None, comment="Name without folders")
    sha256: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of the file")
    rows_total: Mapped[int] = mapped_column(comment="Data rows in the file")
    rows_new: Mapped[int] = mapped_column(comment="Rows booked")
    rows_duplicate: Mapped[int] = mapped_column(comment="Rows that were booked before")
    rows_rejected: Mapped[int] = mapped_column(comment="Rows refused; the report says why")
    status: Mapped[BatchStatus] = mapped_column(
        ClosedText(BatchStatus), default=BatchStatus.APPLIED, comment="Whether it stands"
    )
    report: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="Refused rows: line, column, value, rule"
    )

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return f"{self.source} {self.filename or ''}".strip()


class Trade(Owned, Record, kw_only=True, eq=False, repr=False):
    """One execution. Never updated but for its status; corrected by a new row."""

    __tablename__ = "trades"
    __table_args__ = (
        tenant_key(),
        _in_portfolio(),
        ForeignKeyConstraint(
            ["user_id", "import_batch_id"],
            ["trading.import_batches.user_id", "trading.import_batches.id"],
        ),
        _to_trade("corrects_trade_id"),
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
        Index("ix_trades_instrument", "instrument_id", text("executed_at DESC")),
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
        {"schema": _SCHEMA, "comment": "Executions: append-only facts"},
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


class Position(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One flat-to-flat cycle of one key: portfolio, instrument, strategy, reference."""

    __tablename__ = "positions"
    __table_args__ = (
        tenant_key(),
        _in_portfolio(),
        _to_trade("opening_trade_id"),
        _to_trade("last_trade_id"),
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
        {"schema": _SCHEMA, "comment": "Flat-to-flat position cycles: a projection of trades"},
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
        default=None, comment="Average entry price, quote currency a unit"
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


def _of_position() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["user_id", "position_id"],
        ["trading.positions.user_id", "trading.positions.id"],
        ondelete="CASCADE",
    )


class Lot(Owned, Record, kw_only=True, eq=False, repr=False):
    """What one opening trade left open. Values are totals, so that nothing is ever rounded away."""

    __tablename__ = "lots"
    __table_args__ = (
        tenant_key(),
        _of_position(),
        _to_trade("opening_trade_id"),
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
        {"schema": _SCHEMA, "comment": "Tax lots: a projection of trades"},
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
        _of_position(),
        _to_trade("closing_trade_id"),
        UniqueConstraint("user_id", "position_id", "lot_key", "closing_trade_id"),
        Index("ix_lot_closures_time", "user_id", "closed_at"),
        Index(None, "closing_trade_id"),
        CheckConstraint("quantity <> 0", name="quantity_not_zero"),
        {"schema": _SCHEMA, "comment": "Realized profit, one row a matched piece"},
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


class CashMovement(Owned, Record, kw_only=True, eq=False, repr=False):
    """Cash that came or went. Never updated; a difference is another row."""

    __tablename__ = "cash_movements"
    __table_args__ = (
        tenant_key(),
        _in_portfolio(),
        _to_trade("trade_id"),
        ForeignKeyConstraint(
            ["user_id", "import_batch_id"],
            ["trading.import_batches.user_id", "trading.import_batches.id"],
        ),
        UniqueConstraint("user_id", "portfolio_id", "source", "dedupe_key"),
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
        {"schema": _SCHEMA, "comment": "Cash that came or went: append-only facts"},
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
        {"schema": _SCHEMA, "comment": "Equity curve, one row a portfolio and instant"},
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
