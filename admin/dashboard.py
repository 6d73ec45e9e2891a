"""The first page, and the page of a portfolio: what it is worth, what it holds, what it earned."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import joinedload
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.office import GET, Office
from admin.overviews import read_overview
from admin.signing_in import staff_of
from domain.database import Reader
from domain.ops.health import readiness
from domain.trading.models import (
    ImportBatch,
    Portfolio,
    Trade,
)

_RECENT: Final = 8
_MOST_PORTFOLIOS: Final = 50


class Dashboard:
    """The pages.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/", self.show, name="index", methods=GET),
            Route("/portfolio/{pk}", self.portfolio, methods=GET),
        ]

    async def show(self, request: Request) -> Response:
        """Show the chosen portfolio, the choice, imports and health."""
        wanted = request.query_params.get("portfolio", "")
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            portfolios = await _portfolios(unit)
            wanted = wanted or str(await _busiest(unit))
            chosen = next((item for item in portfolios if str(item.id) == wanted), None)
            chosen = chosen or next(iter(portfolios), None)
            context: dict[str, Any] = {
                "portfolios": portfolios,
                "overview": None if chosen is None else await read_overview(unit, chosen),
                "imports": await _imports(unit),
                "health": await readiness(self.office.db),
            }
        return self.office.pages.render(request, "dashboard.html", context)

    async def portfolio(self, request: Request) -> Response:
        """Show one portfolio."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            portfolio = await unit.portfolios.get(uuid_of(request), joinedload(Portfolio.user))
            context = {"overview": await read_overview(unit, portfolio)}
        return self.office.pages.render(request, "portfolio.html", context)


async def _portfolios(unit: Reader) -> Sequence[Portfolio]:
    statement = unit.portfolios.query(Portfolio.archived_at.is_(None))
    named = statement.options(joinedload(Portfolio.user)).order_by(Portfolio.id)
    return await unit.portfolios.all(named.limit(_MOST_PORTFOLIOS))


async def _busiest(unit: Reader) -> UUID | None:
    """Return the portfolio that traded last."""
    newest = unit.trades.query().order_by(Trade.executed_at.desc(), Trade.id.desc())
    trade = await unit.trades.first(newest)
    return None if trade is None else trade.portfolio_id


async def _imports(unit: Reader) -> Sequence[ImportBatch]:
    statement = unit.import_batches.query().options(joinedload(ImportBatch.portfolio))
    return await unit.import_batches.all(statement.order_by(ImportBatch.id.desc()).limit(_RECENT))
