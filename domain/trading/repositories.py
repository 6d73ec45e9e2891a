"""What is asked about portfolios, trades, positions and cash."""

from collections.abc import Sequence

from sqlalchemy import Select, func
from sqlalchemy.orm import joinedload

from domain.db.page import Page
from domain.db.repository import Repository
from domain.errors import NotFound
from domain.trading.models import (
    CashMovement,
    EquitySnapshot,
    ImportBatch,
    Lot,
    LotClosure,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
)


class PortfolioRepository(Repository[Portfolio]):
    """Portfolios."""

    async def named(self, name: str) -> Portfolio:
        """Return the portfolio with this name, in any case.

        Raises:
            NotFound: None of this tenant's portfolios has it.
        """
        found = await self.find_named(name)
        if found is None:
            raise NotFound(f"portfolio {name!r} was not found")
        return found

    async def find_named(self, name: str) -> Portfolio | None:
        """Return the portfolio with this name, in any case, or None."""
        return await self.first(
            self.query(func.lower(Portfolio.name) == name.strip().lower()).order_by(Portfolio.id)
        )

    async def active(self) -> Sequence[Portfolio]:
        """Return the portfolios that were not put away, by name."""
        return await self.all(self.query(Portfolio.archived_at.is_(None)).order_by(Portfolio.name))


class TradeRepository(Repository[Trade]):
    """Trades."""

    async def of(
        self, portfolio: Portfolio, *, limit: int = 50, after: str | None = None
    ) -> Page[Trade]:
        """Return a page of the portfolio's trades with their instruments, newest first."""
        newest = (
            self.query(Trade.portfolio_id == portfolio.id)
            .options(joinedload(Trade.instrument))
            .order_by(Trade.executed_at.desc(), Trade.id.desc())
        )
        return await self.page(newest, limit=limit, after=after)


class PositionRepository(Repository[Position]):
    """Positions; void cycles, which a replay found never to have been, are left out."""

    def query(self, *where: object) -> Select[Position]:
        """Return positions that are open or closed."""
        return super().query(Position.status != PositionStatus.VOID, *where)  # type: ignore[arg-type]  # conditions

    async def open_in(self, portfolio: Portfolio) -> Sequence[Position]:
        """Return the open positions with their instruments, by opening time."""
        statement = self.query(
            Position.portfolio_id == portfolio.id, Position.status == PositionStatus.OPEN
        )
        return await self.all(
            statement.options(joinedload(Position.instrument)).order_by(
                Position.opened_at, Position.id
            )
        )


class LotRepository(Repository[Lot]):
    """Lots."""


class LotClosureRepository(Repository[LotClosure]):
    """Realized profit, piece by piece."""


class CashMovementRepository(Repository[CashMovement]):
    """Cash."""


class ImportBatchRepository(Repository[ImportBatch]):
    """Imports."""


class EquitySnapshotRepository(Repository[EquitySnapshot]):
    """Equity curves."""
