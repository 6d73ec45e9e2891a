"""Views of instruments and what they trade at."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement

from admin.market_boards import read_instrument_board
from admin.records import Inline, RecordView, Related
from admin.rendering import show
from admin.translating import gettext, word
from domain.database import Reader
from domain.market.models import (
    ArchivedBar,
    Bar,
    CorporateAction,
    Currency,
    DailyBar,
    FxRate,
    Instrument,
    InstrumentAlias,
    LatestPrice,
    Tick,
)

_CATEGORY = "Market"


class InstrumentView(RecordView, model=Instrument):
    """Instruments."""

    name, name_plural, path = "Instrument", "Instruments", "instruments"
    board = "boards/instrument.html"
    board_shows = (
        "latest-prices", "daily-bars", "corporate-actions", "positions", "portfolios", "trades",
    )  # fmt: skip
    category = _CATEGORY
    about = "Tradable contracts: one row a share, pair, future or option series."
    columns = ("symbol", "kind", "name", "quote_currency", "multiplier", "expires_on", "status")
    order = (Instrument.id,)
    is_found_by_name = True
    search = (Instrument.symbol,)
    search_hint = "Symbol begins with…"
    filters = ("kind", "status")
    keys = ("underlying_id",)
    list_editable = ("name", "status")
    editable = (
        "symbol",
        "name",
        "exchange",
        "isin",
        "cusip",
        "figi",
        "status",
        "tick_size",
        "lot_size",
        "listed_on",
        "delisted_on",
        "exercise_style",
        "settlement",
        "details",
    )
    creatable = (
        "symbol",
        "kind",
        "quote_currency",
        "name",
        "exchange",
        "base_currency",
        "settlement_currency",
        "multiplier",
        "is_inverse",
        "cash_model",
        "underlying_id",
        "option_root",
        "option_type",
        "strike",
        "expires_on",
        "isin",
    )
    inlines = (Inline("Aliases", "aliases", "instrument_id"),)
    related = (
        Related("Trades", "trades", "instrument_id"),
        Related("Positions", "positions", "instrument_id"),
        Related("Bars", "bars", "instrument_id"),
        Related("Daily bars", "daily-bars", "instrument_id"),
        Related("Ticks", "ticks", "instrument_id"),
        Related("Archived bars", "archived-bars", "instrument_id"),
        Related("Alerts", "alerts", "instrument_id", is_shown=True),
        Related("Articles", "article-instruments", "instrument_id"),
        Related("Calendar", "calendar-events", "instrument_id"),
        Related("Analyses", "analyses", "instrument_id"),
        Related("Journal", "journal-entries", "instrument_id"),
        Related("Corporate actions", "corporate-actions", "instrument_id", is_shown=True),
        Related("Aliases", "aliases", "instrument_id", is_shown=True),
        Related("Options on it", "instruments", "underlying_id"),
    )

    async def board_of(self, unit: Reader, record: Any) -> Mapping[str, Any]:
        """Return the quote, the year's range and who holds it."""
        return await read_instrument_board(unit, record)

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for symbols, which are upper case."""
        return super().search_condition(text.upper())


class InstrumentAliasView(RecordView, model=InstrumentAlias):
    """Aliases."""

    name, name_plural, path = "Alias", "Aliases", "aliases"
    category = _CATEGORY
    about = "What brokers and feeds call an instrument, and when."
    columns = ("source", "symbol", "instrument", "valid_from", "valid_to")
    order = (InstrumentAlias.source, InstrumentAlias.symbol, InstrumentAlias.valid_from)
    is_newest_first = False
    keys = ("instrument_id",)
    pickers = ("instrument_id",)
    hint_about = "Imports keep what brokers call an instrument; add what a feed calls it."
    editable = ("instrument_id", "symbol", "valid_from", "valid_to")
    creatable = ("instrument_id", "source", "symbol", "valid_from", "valid_to")
    is_deletable = True

    def option(self, record: Any) -> str:
        """Return ``tastytrade AAPL``."""
        return f"{record.source} {record.symbol}"


class BarView(RecordView, model=Bar):
    """Bars."""

    name, name_plural, path = "Bar", "Bars", "bars"
    category = _CATEGORY
    about = "Open, high, low, close and volume as traded: not adjusted for splits."
    columns = ("instrument", "timeframe", "time", "open", "high", "low", "close", "volume")
    order = (Bar.instrument_id, Bar.timeframe, Bar.time)
    keys = ("instrument_id",)
    pickers = ("instrument_id",)
    time_column = "time"
    filters = ("timeframe",)
    hint = "ingest_bars(unit, rows)"

    def heading(self, record: Any) -> str:
        """Return ``AAPL, 1h of 2024-03-15 14:00 UTC``."""
        return gettext(
            "%(instrument)s, %(timeframe)s of %(time)s UTC",
            instrument=record.instrument,
            timeframe=record.timeframe,
            time=f"{record.time:%Y-%m-%d %H:%M}",
        )


class ArchivedBarView(BarView, model=ArchivedBar):
    """Archived bars, shown as bars are."""

    name, name_plural, path = "Archived bar", "Archived bars", "archived-bars"
    about = "Bars that retention moved out of the way."
    order = (ArchivedBar.instrument_id, ArchivedBar.timeframe, ArchivedBar.time)
    is_part = True
    hint = "tradekeep series maintain"
    hint_about = "Bars older than TRADEKEEP_KEEP_BARS_DAYS are moved here by"


class DailyBarView(RecordView, model=DailyBar):
    """Days rolled up from bars."""

    name, name_plural, path = "Daily bar", "Daily bars", "daily-bars"
    category = _CATEGORY
    about = "Days rolled up from the finest bars there are."
    columns = ("instrument", "on", "open", "high", "low", "close", "volume", "vwap", "timeframe")
    order = (DailyBar.instrument_id, DailyBar.on)
    keys = ("instrument_id",)
    pickers = ("instrument_id",)
    time_column = "on"
    filters = ("timeframe",)
    hint = "tradekeep series roll-up"

    def heading(self, record: Any) -> str:
        """Return ``AAPL on 2024-03-15``."""
        return gettext("%(what)s on %(day)s", what=record.instrument, day=record.on)


class TickView(RecordView, model=Tick):
    """Ticks."""

    name, name_plural, path = "Tick", "Ticks", "ticks"
    category = _CATEGORY
    about = "Trades and quotes of the market, as they were reported."
    columns = ("instrument", "time", "price", "size", "bid", "ask", "source")
    order = (Tick.instrument_id, Tick.time, Tick.sequence)
    keys = ("instrument_id",)
    pickers = ("instrument_id",)
    time_column = "time"
    hint = "ingest_ticks(unit, rows)"

    def heading(self, record: Any) -> str:
        """Return ``AAPL at 2024-03-15 14:30:15 UTC``."""
        time = f"{record.time:%Y-%m-%d %H:%M:%S}"
        return gettext("%(what)s at %(time)s UTC", what=record.instrument, time=time)


class LatestPriceView(RecordView, model=LatestPrice):
    """Latest prices."""

    name, name_plural, path = "Latest price", "Latest prices", "latest-prices"
    category = _CATEGORY
    about = "The newest known price of each instrument."
    columns = ("instrument", "price", "bid", "ask", "time", "source")
    order = (LatestPrice.instrument_id,)
    keys = ("instrument_id",)
    pickers = ("instrument_id",)
    hint_about = "Ingested ticks and bars move them."

    def heading(self, record: Any) -> str:
        """Return ``AAPL at 190.25``."""
        price = show(record.price, "price").text
        return gettext("%(instrument)s at %(price)s", instrument=record.instrument, price=price)


class FxRateView(RecordView, model=FxRate):
    """Exchange rates."""

    name, name_plural, path = "FX rate", "FX rates", "fx-rates"
    category = _CATEGORY
    about = "Quote currency for one unit of base currency, a fixing a day."
    columns = ("base_currency", "quote_currency", "on", "rate", "source")
    order = (FxRate.base_currency, FxRate.quote_currency, FxRate.on)
    keys = ("base_currency", "quote_currency")
    editable = ("rate",)
    creatable = ("base_currency", "quote_currency", "on", "source", "rate")

    def heading(self, record: Any) -> str:
        """Return ``EUR/USD on 2024-03-15``."""
        pair = f"{record.base_currency}/{record.quote_currency}"
        return gettext("%(what)s on %(day)s", what=pair, day=record.on)


class CorporateActionView(RecordView, model=CorporateAction):
    """Corporate actions."""

    name, name_plural, path = "Corporate action", "Corporate actions", "corporate-actions"
    category = _CATEGORY
    about = "Splits, dividends, mergers and spin-offs. They are registered by the library."
    columns = (
        "ex_on",
        "instrument",
        "kind",
        "numerator",
        "denominator",
        "cash_amount",
        "currency",
        "target",
    )
    order = (CorporateAction.id,)
    filters = ("kind",)
    keys = ("instrument_id",)
    pickers = ("instrument_id",)

    def heading(self, record: Any) -> str:
        """Return ``AAPL: reverse split of 2024-03-15``."""
        return gettext(
            "%(instrument)s: %(kind)s of %(day)s",
            instrument=record.instrument,
            kind=word(record.kind),
            day=record.ex_on,
        )


class CurrencyView(RecordView, model=Currency):
    """Currencies."""

    name, name_plural, path = "Currency", "Currencies", "currencies"
    category = _CATEGORY
    about = "Currencies that amounts are in."
    columns = ("code", "name", "minor_units", "kind")
    order = (Currency.code,)
    is_newest_first = False
    search = (Currency.code,)
    search_hint = "Code begins with…"
    editable = ("name", "minor_units", "kind")
    list_editable = ("name", "minor_units", "kind")
    creatable = ("code", "name", "minor_units", "kind")

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for codes, which are upper case."""
        return super().search_condition(text.upper())


VIEWS = (
    InstrumentView,
    InstrumentAliasView,
    BarView,
    DailyBarView,
    TickView,
    ArchivedBarView,
    LatestPriceView,
    FxRateView,
    CorporateActionView,
    CurrencyView,
)
