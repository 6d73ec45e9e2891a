"""What is stored about markets. Global rows: no tenant owns them."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, MappedAsDataclass, foreign, mapped_column, relationship

from domain.db.orm import Amount, Base, Price, Quantity, Ratio, Record, Timestamped, Versioned
from domain.db.timeseries import series
from domain.db.types import ClosedText, OpenText
from domain.market.terms import CorporateActionKind, InstrumentKind, OptionType, Timeframe

_SCHEMA = "market"

_OSI_SYMBOL = (
    "CASE WHEN kind = 'option' AND strike * 1000 = trunc(strike * 1000) "
    "AND strike < 100000 AND length(option_root) <= 6 THEN "
    "rpad(option_root, 6) "
    "|| lpad(((extract(year FROM expires_on))::integer % 100)::text, 2, '0') "
    "|| lpad((extract(month FROM expires_on))::integer::text, 2, '0') "
    "|| lpad((extract(day FROM expires_on))::integer::text, 2, '0') "
    "|| CASE option_type WHEN 'call' THEN 'C' ELSE 'P' END "
    "|| lpad(trunc(strike * 1000)::bigint::text, 8, '0') END"
)


class CurrencyKind(StrEnum):
    """What a currency is."""

    FIAT = "fiat"
    CRYPTO = "crypto"
    COMMODITY = "commodity"


class InstrumentStatus(StrEnum):
    """Whether an instrument trades."""

    ACTIVE = "active"
    HALTED = "halted"
    DELISTED = "delisted"
    EXPIRED = "expired"
    MERGED = "merged"


class Currency(Base, kw_only=True, eq=False, repr=False):
    """Money that amounts are in."""

    __tablename__ = "currencies"
    __table_args__ = (
        CheckConstraint("code ~ '^[A-Z0-9]{2,12}$'", name="code_format"),
        CheckConstraint("minor_units BETWEEN 0 AND 18", name="minor_units_range"),
        {"schema": _SCHEMA, "comment": "Currencies, fiat and crypto"},
    )

    code: Mapped[str] = mapped_column(primary_key=True, comment="ISO 4217 or crypto ticker")
    name: Mapped[str] = mapped_column(comment="English name")
    minor_units: Mapped[int] = mapped_column(
        SmallInteger, default=2, comment="Decimals to show: 2 for USD, 0 for JPY, 8 for BTC"
    )
    kind: Mapped[CurrencyKind] = mapped_column(
        ClosedText(CurrencyKind), default=CurrencyKind.FIAT, comment="What it is"
    )

    def __str__(self) -> str:
        return self.code


class Instrument(Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One tradable contract: a share, one option series, a pair, a future."""

    __tablename__ = "instruments"
    __table_args__ = (
        Index(
            "uq_instruments_symbol",
            "symbol",
            "kind",
            "exchange",
            "quote_currency",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("kind <> 'option'"),
        ),
        Index(
            "uq_instruments_option",
            "option_root",
            "expires_on",
            "option_type",
            "strike",
            "quote_currency",
            unique=True,
            postgresql_where=text("kind = 'option'"),
        ),
        Index("ix_instruments_symbol_prefix", text("symbol text_pattern_ops")),
        Index("ix_instruments_underlying", "underlying_id", "expires_on", "strike"),
        Index("ix_instruments_isin", "isin", postgresql_where=text("isin IS NOT NULL")),
        CheckConstraint("length(symbol) BETWEEN 1 AND 64", name="symbol_length"),
        CheckConstraint(
            "(kind = 'option') = (option_type IS NOT NULL AND option_root IS NOT NULL)"
            " AND (kind NOT IN ('option', 'future_option')"
            " OR (strike IS NOT NULL AND expires_on IS NOT NULL))",
            name="option_terms",
        ),
        CheckConstraint("multiplier > 0", name="multiplier_positive"),
        # The server knows the zones: an unknown one is an error of its own.
        CheckConstraint(
            "timezone(time_zone, TIMESTAMPTZ '2000-01-01 00:00Z') IS NOT NULL OR time_zone IS NULL",
            name="time_zone_known",
        ),
        CheckConstraint(
            "NOT is_inverse OR settlement_currency IS NOT NULL", name="inverse_settlement"
        ),
        {"schema": _SCHEMA, "comment": "Tradable contracts, one row each"},
    )

    symbol: Mapped[str] = mapped_column(comment="Ticker; for options the OSI symbol")
    kind: Mapped[InstrumentKind] = mapped_column(ClosedText(InstrumentKind), comment="What it is")
    quote_currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), comment="Currency that prices are in"
    )
    name: Mapped[str | None] = mapped_column(default=None, comment="Name of issuer or contract")
    exchange: Mapped[str | None] = mapped_column(
        default=None, comment="Market, MIC or venue name; NULL: consolidated"
    )
    base_currency: Mapped[str | None] = mapped_column(
        ForeignKey("market.currencies.code"), default=None, comment="What a pair buys"
    )
    settlement_currency: Mapped[str | None] = mapped_column(
        ForeignKey("market.currencies.code"),
        default=None,
        comment="Currency of profit; NULL: the quote currency",
    )
    multiplier: Mapped[Quantity] = mapped_column(
        default=Decimal(1), comment="Units of the underlying a contract stands for"
    )
    is_inverse: Mapped[bool] = mapped_column(
        default=False, comment="True: value is quantity * multiplier / price"
    )
    cash_model: Mapped[str] = mapped_column(
        OpenText(), default="upfront", comment="upfront: trades move their value; margined: profit"
    )
    tick_size: Mapped[Price | None] = mapped_column(default=None, comment="Smallest price step")
    lot_size: Mapped[Quantity | None] = mapped_column(
        default=None, comment="Smallest quantity step"
    )
    underlying_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        default=None,
        comment="What a derivative is on",
    )
    option_root: Mapped[str | None] = mapped_column(default=None, comment="OSI root, 1 to 6")
    option_type: Mapped[OptionType | None] = mapped_column(
        ClosedText(OptionType), default=None, comment="Right of the option"
    )
    strike: Mapped[Price | None] = mapped_column(default=None, comment="Strike, quote currency")
    expires_on: Mapped[date | None] = mapped_column(default=None, comment="Last trading day")
    exercise_style: Mapped[str | None] = mapped_column(
        OpenText(), default=None, comment="american or european"
    )
    settlement: Mapped[str | None] = mapped_column(
        OpenText(), default=None, comment="physical or cash"
    )
    isin: Mapped[str | None] = mapped_column(default=None, comment="ISIN, 12 characters")
    cusip: Mapped[str | None] = mapped_column(default=None, comment="CUSIP, 9 characters")
    figi: Mapped[str | None] = mapped_column(default=None, comment="OpenFIGI id")
    status: Mapped[InstrumentStatus] = mapped_column(
        ClosedText(InstrumentStatus), default=InstrumentStatus.ACTIVE, comment="Whether it trades"
    )
    time_zone: Mapped[str | None] = mapped_column(
        default=None, comment="IANA zone of its trading day, e.g. America/New_York; NULL: UTC"
    )
    listed_on: Mapped[date | None] = mapped_column(default=None, comment="First trading day")
    delisted_on: Mapped[date | None] = mapped_column(default=None, comment="Day it left the market")
    details: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What a source says beyond these columns"
    )
    osi_symbol: Mapped[str | None] = mapped_column(
        Computed(_OSI_SYMBOL, persisted=True),
        init=False,
        comment="OCC symbol of an option, 21 characters",
    )

    underlying: Mapped["Instrument | None"] = relationship(
        remote_side="Instrument.id", init=False, lazy="raise_on_sql"
    )

    def __str__(self) -> str:
        return " ".join(self.symbol.split())

    @property
    def profit_currency(self) -> str:
        """Currency of cash and profit: the settlement currency, else the quote currency."""
        return self.settlement_currency or self.quote_currency


class InstrumentAlias(Record, kw_only=True, eq=False, repr=False):
    """What a source called an instrument, and when: tickers are renamed and reused."""

    __tablename__ = "instrument_aliases"
    __table_args__ = (
        UniqueConstraint("source", "symbol", "valid_from"),
        Index(
            "uq_instrument_aliases_open",
            "source",
            "symbol",
            unique=True,
            postgresql_where=text("valid_to IS NULL"),
        ),
        Index(None, "instrument_id"),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="validity"),
        {"schema": _SCHEMA, "comment": "Names that sources give to instruments"},
    )

    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"), comment="The instrument"
    )
    source: Mapped[str] = mapped_column(OpenText(), comment="Broker, exchange or feed")
    symbol: Mapped[str] = mapped_column(comment="The source's name for it")
    valid_from: Mapped[datetime] = mapped_column(comment="First instant of the name, UTC")
    valid_to: Mapped[datetime | None] = mapped_column(
        default=None, comment="End of the name, exclusive, UTC; NULL: still valid"
    )

    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")

    def __str__(self) -> str:
        return f"{self.source}:{self.symbol}"


class BarColumns(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    """What a bar is, wherever it is kept."""

    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        primary_key=True,
        sort_order=-80,
        comment="The instrument",
    )
    timeframe: Mapped[Timeframe] = mapped_column(
        ClosedText(Timeframe), primary_key=True, sort_order=-70, comment="Length of the interval"
    )
    time: Mapped[datetime] = mapped_column(
        primary_key=True, sort_order=-60, comment="Start of the interval, UTC"
    )
    source: Mapped[str] = mapped_column(
        OpenText(), primary_key=True, sort_order=-50, comment="Where it came from"
    )
    open: Mapped[Price] = mapped_column(comment="First price, quote currency a unit")
    high: Mapped[Price] = mapped_column(comment="Highest price, quote currency a unit")
    low: Mapped[Price] = mapped_column(comment="Lowest price, quote currency a unit")
    close: Mapped[Price] = mapped_column(comment="Last price, quote currency a unit")
    volume: Mapped[Quantity] = mapped_column(comment="Units traded; crypto trades fractions")
    vwap: Mapped[Price | None] = mapped_column(
        default=None, comment="Volume-weighted average price, quote currency a unit"
    )
    trades_count: Mapped[int | None] = mapped_column(
        BigInteger, default=None, comment="Number of trades"
    )


_BARS_GROW = series(
    by="time",
    every=timedelta(days=30),
    coarse_after=timedelta(days=730),
    segment_by="instrument_id",
)


def _bar_checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint(
            "high >= low AND high >= open AND high >= close AND low <= open AND low <= close",
            name="ohlc_order",
        ),
        CheckConstraint("volume >= 0", name="volume_not_negative"),
    )


class Bar(BarColumns, Base, kw_only=True, eq=False, repr=False):
    """Open, high, low, close and volume of one interval, as traded: not adjusted for splits."""

    __tablename__ = "bars"
    __table_args__ = (
        *_bar_checks(),
        Index("ix_bars_time", "time", postgresql_using="brin"),
        {
            "schema": _SCHEMA,
            "comment": "Price bars, raw",
            "info": _BARS_GROW,
        },
    )

    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")


class ArchivedBar(BarColumns, Base, kw_only=True, eq=False, repr=False):
    """A bar that retention moved out of the way; `domain.ops.retention` fills this."""

    __tablename__ = "bars_archive"
    __table_args__ = (
        *_bar_checks(),
        {
            "schema": _SCHEMA,
            "comment": "Price bars that retention moved out of market.bars",
            "info": _BARS_GROW,
        },
    )

    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")


class DailyBar(Base, kw_only=True, eq=False, repr=False):
    """One day of an instrument: a roll-up of its bars that `domain.market.rolling_up` keeps."""

    __tablename__ = "daily_bars"
    __table_args__ = (
        *_bar_checks(),
        Index(None, "on"),
        {"schema": _SCHEMA, "comment": "Days rolled up from bars"},
    )

    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="The instrument",
    )
    on: Mapped[date] = mapped_column(
        primary_key=True, comment="Trading day in the instrument's time zone"
    )
    source: Mapped[str] = mapped_column(OpenText(), primary_key=True, comment="Source of the bars")
    timeframe: Mapped[Timeframe] = mapped_column(
        ClosedText(Timeframe), comment="What it was rolled up from: the finest of the day"
    )
    open: Mapped[Price] = mapped_column(comment="First price, quote currency a unit")
    high: Mapped[Price] = mapped_column(comment="Highest price, quote currency a unit")
    low: Mapped[Price] = mapped_column(comment="Lowest price, quote currency a unit")
    close: Mapped[Price] = mapped_column(comment="Last price, quote currency a unit")
    volume: Mapped[Quantity] = mapped_column(comment="Units traded")
    bars_count: Mapped[int] = mapped_column(comment="Bars it was rolled up from")
    vwap: Mapped[Price | None] = mapped_column(
        default=None,
        comment="Volume-weighted average price; NULL when a bar with volume has none",
    )
    trades_count: Mapped[int | None] = mapped_column(
        BigInteger, default=None, comment="Number of trades; NULL when a bar does not say"
    )

    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")


class StaleDay(Base, kw_only=True, eq=False, repr=False):
    """A day whose bars changed since it was rolled up."""

    __tablename__ = "stale_days"
    __table_args__ = ({"schema": _SCHEMA, "comment": "Days that wait for their roll-up"},)

    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The instrument",
    )
    on: Mapped[date] = mapped_column(primary_key=True, comment="UTC day of the bars")
    marked_at: Mapped[datetime] = mapped_column(
        init=False, server_default=func.now(), comment="When it was marked first, UTC"
    )


class Tick(Base, kw_only=True, eq=False, repr=False):
    """One trade or quote of the market, as it was reported."""

    __tablename__ = "ticks"
    __table_args__ = (
        CheckConstraint("bid IS NULL OR ask IS NULL OR bid <= ask", name="bid_below_ask"),
        CheckConstraint("size >= 0", name="size_not_negative"),
        {
            "schema": _SCHEMA,
            "comment": "Trades and quotes of the market",
            "info": series(by="time", every=timedelta(days=7), segment_by="instrument_id"),
        },
    )

    # No foreign key: it would be checked a row; `ingest_ticks` checks the instruments of a batch.
    instrument_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The instrument")
    time: Mapped[datetime] = mapped_column(primary_key=True, comment="When it happened, UTC")
    sequence: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, default=0, comment="Order of ticks of one instant"
    )
    source: Mapped[str] = mapped_column(OpenText(), primary_key=True, comment="Where it came from")
    price: Mapped[Price] = mapped_column(comment="Price, quote currency a unit")
    size: Mapped[Quantity | None] = mapped_column(
        default=None, comment="Units traded; NULL for a quote"
    )
    bid: Mapped[Price | None] = mapped_column(default=None, comment="Best bid, quote currency")
    ask: Mapped[Price | None] = mapped_column(default=None, comment="Best ask, quote currency")

    instrument: Mapped[Instrument] = relationship(
        primaryjoin=lambda: foreign(Tick.instrument_id) == Instrument.id,
        init=False,
        lazy="raise_on_sql",
        viewonly=True,
    )


class LatestPrice(Base, kw_only=True, eq=False, repr=False):
    """The newest known price of an instrument: a projection kept by upsert."""

    __tablename__ = "latest_prices"
    __table_args__ = (
        CheckConstraint("bid IS NULL OR ask IS NULL OR bid <= ask", name="bid_below_ask"),
        {
            "schema": _SCHEMA,
            "comment": "Newest price an instrument",
            "postgresql_with": {"fillfactor": 70},
        },
    )

    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The instrument",
    )
    price: Mapped[Price] = mapped_column(comment="Last price, quote currency a unit")
    time: Mapped[datetime] = mapped_column(comment="When it traded, UTC")
    source: Mapped[str] = mapped_column(OpenText(), comment="Where it came from")
    bid: Mapped[Price | None] = mapped_column(default=None, comment="Best bid, quote currency")
    ask: Mapped[Price | None] = mapped_column(default=None, comment="Best ask, quote currency")
    mark: Mapped[Price | None] = mapped_column(
        default=None, comment="Fair price of the venue, quote currency"
    )

    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")


class FxRate(Base, kw_only=True, eq=False, repr=False):
    """One currency's price in another on one day."""

    __tablename__ = "fx_rates"
    __table_args__ = (
        CheckConstraint("base_currency <> quote_currency", name="two_currencies"),
        CheckConstraint("rate > 0", name="rate_positive"),
        {"schema": _SCHEMA, "comment": "Daily exchange rates"},
    )

    base_currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), primary_key=True, comment="One unit of this"
    )
    quote_currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), primary_key=True, comment="costs `rate` of this"
    )
    on: Mapped[date] = mapped_column(primary_key=True, comment="Day of the fixing")
    source: Mapped[str] = mapped_column(OpenText(), primary_key=True, comment="Who fixed it")
    rate: Mapped[Ratio] = mapped_column(comment="Quote currency for one unit of base currency")


class CorporateAction(Timestamped, Record, kw_only=True, eq=False, repr=False):
    """What an issuer did to its instrument, as data: ratios are two integers."""

    __tablename__ = "corporate_actions"
    __table_args__ = (
        UniqueConstraint(
            "instrument_id", "kind", "ex_on", "target_id", postgresql_nulls_not_distinct=True
        ),
        Index(None, "instrument_id", "effective_at"),
        CheckConstraint(
            "kind NOT IN ('split', 'reverse_split', 'stock_dividend', 'spin_off', 'merger_stock')"
            " OR (numerator > 0 AND denominator > 0)",
            name="ratio_given",
        ),
        CheckConstraint(
            "kind NOT IN ('cash_dividend', 'special_dividend', 'return_of_capital', 'merger_cash')"
            " OR (cash_amount IS NOT NULL AND currency IS NOT NULL)",
            name="cash_given",
        ),
        CheckConstraint(
            "kind NOT IN ('spin_off', 'merger_stock', 'symbol_change') OR target_id IS NOT NULL",
            name="target_given",
        ),
        CheckConstraint("basis_fraction BETWEEN 0 AND 1", name="basis_fraction_range_unit"),
        {"schema": _SCHEMA, "comment": "Splits, dividends, mergers, spin-offs, renamings"},
    )

    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"), comment="Whose action"
    )
    kind: Mapped[CorporateActionKind] = mapped_column(
        ClosedText(CorporateActionKind), comment="What happened"
    )
    ex_on: Mapped[date] = mapped_column(comment="First day without the right")
    effective_at: Mapped[datetime] = mapped_column(
        comment="Instant from which quantities count anew, UTC"
    )
    source: Mapped[str] = mapped_column(OpenText(), comment="Where it came from")
    numerator: Mapped[int | None] = mapped_column(
        BigInteger, default=None, comment="New units for `denominator` old ones"
    )
    denominator: Mapped[int | None] = mapped_column(
        BigInteger, default=None, comment="Old units that become `numerator` new ones"
    )
    cash_amount: Mapped[Amount | None] = mapped_column(
        default=None, comment="Cash a unit, in `currency`"
    )
    currency: Mapped[str | None] = mapped_column(
        ForeignKey("market.currencies.code"), default=None, comment="Currency of the cash"
    )
    target_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        default=None,
        comment="What holders receive",
    )
    basis_fraction: Mapped[Ratio | None] = mapped_column(
        default=None, comment="Share of the cost basis that moves to the target, 0 to 1"
    )
    record_on: Mapped[date | None] = mapped_column(default=None, comment="Record day")
    pay_on: Mapped[date | None] = mapped_column(default=None, comment="Payment day")

    instrument: Mapped[Instrument] = relationship(
        foreign_keys=[instrument_id], init=False, lazy="raise_on_sql"
    )
    target: Mapped[Instrument | None] = relationship(
        foreign_keys=[target_id], init=False, lazy="raise_on_sql"
    )
