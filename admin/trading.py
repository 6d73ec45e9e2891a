"""Views of portfolios, facts and projections. Facts have no edit: they are corrected."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select

from admin.market_boards import read_position_board
from admin.records import RecordView, Related
from admin.rendering import show
from admin.translating import gettext, word
from domain.database import Reader
from domain.market.models import Instrument
from domain.trading.models import (
    CashMovement,
    EquitySnapshot,
    ImportBatch,
    Lot,
    LotClosure,
    Portfolio,
    Position,
    Trade,
    TradeStatus,
)

_CATEGORY = "Trading"


class PortfolioView(RecordView, model=Portfolio):
    """Portfolios."""

    name, name_plural, path = "Portfolio", "Portfolios", "portfolios"
    head_panel = "panels/portfolio_head.html"
    category = _CATEGORY
    about = "Sets of positions and cash that are measured together."
    columns = ("name", "user", "base_currency", "cost_basis_method", "broker", "archived_at")
    order = (Portfolio.id,)
    is_found_by_name = True
    search = (Portfolio.name,)
    search_hint = "Name begins with…"
    filters = ("cost_basis_method",)
    keys = ("user_id",)
    list_editable = ("broker",)
    editable = ("name", "description", "broker", "external_account", "inception_at", "archived_at")
    creatable = (
        "user_id",
        "name",
        "base_currency",
        "description",
        "cost_basis_method",
        "position_mode",
        "assignment_policy",
        "broker",
    )
    is_deletable = True
    hint = "tradekeep import tastytrade FILE --user NAME --portfolio NAME"
    related = (
        Related("Trades", "trades", "portfolio_id"),
        Related("Positions", "positions", "portfolio_id"),
        Related("Cash", "cash-movements", "portfolio_id"),
        Related("Imports", "imports", "portfolio_id"),
        Related("Equity", "equity", "portfolio_id"),
        Related("Journal", "journal-entries", "portfolio_id", same=("user_id",)),
        Related("Alerts", "alerts", "portfolio_id", same=("user_id",)),
        Related("Agents", "agents", "portfolio_id", same=("user_id",)),
    )

    def option(self, record: Any) -> str:
        """Return the name with its owner: everybody has a portfolio named Main."""
        return f"{record.name} · {record.user}"

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for names in any case; portfolios are few."""
        return Portfolio.name.istartswith(text.strip(), autoescape=True)


class TradeView(RecordView, model=Trade):
    """Trades."""

    name, name_plural, path = "Trade", "Trades", "trades"
    powers = ("create", "correct")
    panel, head_panel = "panels/trade.html", "panels/trade_head.html"
    category = _CATEGORY
    about = "Executions. A trade is never edited: correct or bust it on its page."
    hint = "tradekeep import tastytrade FILE --user NAME --portfolio NAME"
    columns = (
        "executed_at",
        "instrument",
        "side",
        "quantity",
        "price",
        "gross_amount",
        "currency",
        "kind",
        "status",
        "portfolio",
    )
    order = (Trade.executed_at, Trade.id)
    search = (Trade.instrument_id,)
    search_hint = "Symbol is…"
    filters = ("side", "kind", "status")
    keys = ("portfolio_id", "instrument_id", "import_batch_id", "user_id")
    pickers = ("portfolio_id",)
    time_column = "executed_at"
    related = (Related("Journal", "entry-trades", "trade_id", is_shown=True),)

    def heading(self, record: Any) -> str:
        """Return ``Buy 10 AAPL @ 190.25``."""
        side = word(record.side or "close").capitalize()
        quantity, price = show(record.quantity).text, show(record.price, "price").text
        return f"{side} {quantity} {record.instrument} @ {price}"

    def warnings(self, record: Any) -> Sequence[str]:
        """Return that a corrected or busted trade does not count."""
        if record.status == TradeStatus.BOOKED:
            return ()
        status = word(record.status)
        return (gettext("This trade does not count any more: it was %(status)s.", status=status),)

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for trades in instruments of this symbol or option root."""
        wanted = text.strip().upper()
        matching = select(Instrument.id).where(
            (Instrument.symbol == wanted) | (Instrument.option_root == wanted)
        )
        return Trade.instrument_id.in_(matching)


class PositionView(RecordView, model=Position):
    """Positions."""

    name, name_plural, path = "Position", "Positions", "positions"
    board = "boards/position.html"
    board_shows = ("latest-prices", "bars", "trades")
    category = _CATEGORY
    about = "Flat-to-flat cycles, made from trades."
    columns = (
        "opened_at",
        "instrument",
        "side",
        "status",
        "quantity",
        "entry_price",
        "current_price",
        "market_value",
        "unrealized_pnl",
        "realized_pnl",
        "currency",
        "portfolio",
    )
    order = (Position.opened_at, Position.id)
    filters = ("status",)
    keys = ("portfolio_id", "instrument_id", "user_id")
    pickers = ("portfolio_id", "instrument_id")
    time_column = "opened_at"
    related = (
        Related("Lots", "lots", "position_id", is_shown=True),
        Related("Closures", "closures", "position_id", is_shown=True),
        Related("Journal", "journal-entries", "position_id", same=("user_id",), is_shown=True),
        Related("Alerts", "alerts", "position_id", same=("user_id",), is_shown=True),
    )

    async def board_of(self, unit: Reader, record: Any) -> Mapping[str, Any]:
        """Return what it is worth, and whether its course can be drawn."""
        return await read_position_board(unit, record)

    def title(self, record: Any) -> str:
        """Return ``long 10``, or ``long, closed``."""
        quantity = show(abs(record.quantity)).text
        side = word(record.side)
        return f"{side} {quantity}" if record.quantity else f"{side}, {word(record.status)}"

    def heading(self, record: Any) -> str:
        """Return ``Long 10 AAPL``, or ``Long AAPL, closed``."""
        side = word(record.side).capitalize()
        if not record.quantity:
            return f"{side} {record.instrument}, {word(record.status)}"
        return f"{side} {show(abs(record.quantity)).text} {record.instrument}"


class LotView(RecordView, model=Lot):
    """Lots."""

    name, name_plural, path = "Lot", "Lots", "lots"
    category = _CATEGORY
    about = "What each opening trade left open, with its cost basis."
    columns = (
        "acquired_at",
        "origin",
        "quantity_opened",
        "quantity_remaining",
        "value_remaining",
        "fees_remaining",
        "closed_at",
    )
    order = (Lot.id,)
    keys = ("position_id", "user_id")


class LotClosureView(RecordView, model=LotClosure):
    """Closures."""

    name, name_plural, path = "Closure", "Closures", "closures"
    category = _CATEGORY
    about = "Pieces of lots matched with closing trades: realized profit."
    columns = ("closed_at", "quantity", "open_value", "close_value", "gross_pnl", "net_pnl")
    order = (LotClosure.id,)
    keys = ("position_id", "user_id")


class CashMovementView(RecordView, model=CashMovement):
    """Cash."""

    name, name_plural, path = "Cash movement", "Cash movements", "cash-movements"
    category = _CATEGORY
    about = "Cash that came or went. A wrong movement is answered by another one."
    columns = ("effective_at", "kind", "amount", "currency", "instrument", "portfolio")
    order = (CashMovement.effective_at, CashMovement.id)
    filters = ("kind",)
    keys = ("portfolio_id", "import_batch_id", "user_id")
    pickers = ("portfolio_id",)
    time_column = "effective_at"

    def title(self, record: Any) -> str:
        """Return ``Deposit 1,000.00 USD``."""
        kind, amount = word(record.kind).capitalize(), show(record.amount, "amount").text
        return f"{kind} {amount} {record.currency}"


class ImportBatchView(RecordView, model=ImportBatch):
    """Imports."""

    name, name_plural, path = "Import", "Imports", "imports"
    powers = ("create", "revert")
    panel = "panels/import.html"
    category = _CATEGORY
    about = "Broker files that were imported, with every refused row."
    hint = "tradekeep import tastytrade FILE --user NAME --portfolio NAME"
    columns = (
        "created_at",
        "source",
        "filename",
        "portfolio",
        "rows_total",
        "rows_new",
        "rows_duplicate",
        "rows_rejected",
        "status",
    )
    order = (ImportBatch.id,)
    filters = ("status",)
    keys = ("portfolio_id", "user_id")
    related = (
        Related("Trades", "trades", "import_batch_id"),
        Related("Cash", "cash-movements", "import_batch_id"),
    )


class EquitySnapshotView(RecordView, model=EquitySnapshot):
    """Equity."""

    name, name_plural, path = "Equity snapshot", "Equity", "equity"
    category = _CATEGORY
    about = "What portfolios were worth at the end of each day."
    columns = (
        "time",
        "portfolio",
        "equity",
        "cash",
        "position_value",
        "realized_pnl",
        "unrealized_pnl",
        "net_contributions",
        "currency",
    )
    order = (EquitySnapshot.portfolio_id, EquitySnapshot.time)
    keys = ("portfolio_id",)
    pickers = ("portfolio_id",)
    time_column = "time"

    def heading(self, record: Any) -> str:
        """Return ``Main on 2024-03-15``."""
        day = f"{record.time:%Y-%m-%d}"
        return gettext("%(what)s on %(day)s", what=record.portfolio, day=day)


VIEWS = (
    PortfolioView,
    TradeView,
    PositionView,
    LotView,
    LotClosureView,
    CashMovementView,
    ImportBatchView,
    EquitySnapshotView,
)
