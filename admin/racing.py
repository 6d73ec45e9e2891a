"""The race of the agents: the leaderboard, and everybody's growth in one chart."""

from typing import Any, Final

from sqlalchemy.orm import joinedload
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from admin.office import GET, Office
from admin.signing_in import staff_of
from domain.agents.models import Agent, Standing
from domain.database import Reader
from domain.money import plain
from domain.trading.curve import curve

_MOST: Final = 50
_DRAWN: Final = 8
"""More lines cannot be told apart."""


class Race:
    """The pages.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/race", self.show, methods=GET),
            Route("/charts/race", self.lines, methods=GET),
        ]

    async def show(self, request: Request) -> Response:
        """Show who leads."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            standings = await _standings(unit, _MOST)
        return self.office.pages.render(request, "race.html", {"standings": standings})

    async def lines(self, request: Request) -> Response:
        """Return the growth of the leaders in percent: (seconds since 1970, percent) a line."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            lines = [await _line(unit, item) for item in await _standings(unit, _DRAWN)]
        return JSONResponse({"lines": [line for line in lines if line["points"]]})


async def _standings(unit: Reader, limit: int) -> Any:
    ranked = (
        unit.leaderboard.query(Agent.archived_at.is_(None))
        .join(Standing.agent)
        .options(joinedload(Standing.agent))
        .order_by(Standing.return_order.desc(), Standing.agent_id.desc())
    )
    return await unit.leaderboard.all(ranked.limit(limit))


async def _line(unit: Reader, standing: Standing) -> dict[str, Any]:
    points = [
        [int(point.at.timestamp()), plain((point.level - 1) * 100)]
        for point in await curve(unit, standing.agent.portfolio_id)
        if point.level is not None
    ]
    return {"name": str(standing.agent), "points": points}
