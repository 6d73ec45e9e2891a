"""The rivals as their documentation shows them, each with a page of fifty and the same columns."""

import os

import sqladmin
from sqladmin.filters import StaticValuesFilter
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette_admin.contrib.sqla import Admin as StarletteAdmin
from starlette_admin.contrib.sqla import InlineModelView
from starlette_admin.contrib.sqla import ModelView as StarletteView

from benchmarks.admins.plain import EDITED, Attachment, Entry, Instrument, Portfolio, Trade

_SHOWN = ["executed_at", "side", "quantity", "price", "gross_amount", "currency", "kind", "status"]


def sqladmin_app() -> Starlette:
    """Return stock sqladmin."""

    class TradeView(sqladmin.ModelView, model=Trade):
        identity = "trade"
        column_list = [*_SHOWN, "instrument", "portfolio"]
        column_searchable_list = ["instrument.symbol"]
        column_filters = [StaticValuesFilter(Trade.side, [("buy", "buy"), ("sell", "sell")])]
        column_default_sort = ("executed_at", True)
        page_size = 50

    class EntryView(sqladmin.ModelView, model=Entry):
        identity = "entry"
        form_columns = list(EDITED)

    app = Starlette()
    admin = sqladmin.Admin(app, create_async_engine(os.environ["BENCH_URL"]))
    admin.add_view(TradeView)
    admin.add_view(EntryView)
    return app


def starlette_admin_app() -> Starlette:
    """Return stock starlette-admin."""

    class TradeView(StarletteView):
        fields = [*_SHOWN, "instrument", "portfolio"]
        searchable_fields = ["currency", "side"]
        fields_default_sort = [("executed_at", True)]
        page_size = 50

    class FilesInline(InlineModelView):
        model = Attachment
        fk_attr = "entry_id"
        fields = ["id", "filename", "caption"]

    class EntryView(StarletteView):
        fields = ["id", *EDITED]
        inlines = [FilesInline]

    class NamedView(StarletteView):
        fields = ["id", "name"]

    class SymbolView(StarletteView):
        fields = ["id", "symbol"]

    app = Starlette()
    admin = StarletteAdmin(create_async_engine(os.environ["BENCH_URL"]), secret_key="b" * 40)
    admin.add_view(TradeView(Trade))
    admin.add_view(EntryView(Entry))
    admin.add_view(NamedView(Portfolio))
    admin.add_view(SymbolView(Instrument))
    admin.mount_to(app)
    return app
