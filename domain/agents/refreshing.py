"""Refreshes the leaderboard: which agents changed, what the rows say, one upsert.

The figures themselves are in `domain.agents.standings`. The agents' rows are locked, in the order
of their ids, before anything is read: at READ COMMITTED a refresh that waited reads what the one
before it committed, so a newer line is never overwritten by an older one and two refreshes cannot
deadlock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from domain.agents.models import Agent, Standing
from domain.agents.standings import Performance, Snapshot, Tally, performance
from domain.clock import now
from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.repositories import FxRateRepository
from domain.money import exact, quantized
from domain.trading.models import Portfolio

_BATCH: Final = 100
"""Agents whose curves are in memory at one time."""

_FIGURES: Final = (
    "equity",
    "sharpe",
    "num_trades",
    "num_wins",
    "num_losses",
    "win_dollars",
    "lose_dollars",
    "return_pct",
    "currency",
    "valued_at",
    "refreshed_at",
    "fingerprint",
)

# A hash of all that the figures depend on: exact where a newest time would miss what was rewritten.
_FINGERPRINTS: Final = text("""
SELECT p.id,
       concat_ws('/', p.base_currency, extract(epoch FROM p.inception_at),
                 s.number, s.hash, t.number, t.hash) AS fingerprint
  FROM trading.portfolios p
 CROSS JOIN LATERAL (
       SELECT count(*) AS number,
              sum(hash_record_extended(ROW(e.time, e.equity, e.net_contributions), 0)) AS hash
         FROM trading.equity_snapshots e
        WHERE e.portfolio_id = p.id) s
 CROSS JOIN LATERAL (
       SELECT count(*) AS number,
              sum(hash_record_extended(
                  ROW(c.closed_at, c.currency, c.realized_gross_pnl, c.realized_fees), 0)) AS hash
         FROM trading.positions c
        WHERE c.user_id = p.user_id AND c.portfolio_id = p.id AND c.status = 'closed') t
 WHERE p.id = ANY(:portfolios)
""").bindparams(bindparam("portfolios", type_=ARRAY(Uuid())))

# The last snapshot of each UTC day; midnight belongs to the day that ends with it.
_CURVES: Final = text("""
SELECT DISTINCT ON (portfolio_id, day)
       portfolio_id, time, equity, net_contributions,
       ((time - interval '1 microsecond') AT TIME ZONE 'UTC')::date AS day
  FROM trading.equity_snapshots
 WHERE portfolio_id = ANY(:portfolios)
 ORDER BY portfolio_id, day, time DESC
""").bindparams(bindparam("portfolios", type_=ARRAY(Uuid())))

# One row a portfolio in its own currency, one a closing day in others: those need the day's rate.
_TRIPS: Final = (
    text("""
SELECT p.id AS portfolio_id, c.currency, day.closed_on,
       count(*) AS num_trades,
       count(*) FILTER (WHERE c.realized_pnl > 0) AS num_wins,
       count(*) FILTER (WHERE c.realized_pnl < 0) AS num_losses,
       coalesce(sum(c.realized_pnl) FILTER (WHERE c.realized_pnl > 0), 0) AS win_dollars,
       coalesce(sum(c.realized_pnl) FILTER (WHERE c.realized_pnl < 0), 0) AS lose_dollars
  FROM trading.portfolios p
  JOIN trading.positions c
    ON c.user_id = p.user_id AND c.portfolio_id = p.id AND c.status = 'closed'
   AND (p.inception_at IS NULL OR c.closed_at >= p.inception_at)
 CROSS JOIN LATERAL (
       SELECT CASE WHEN c.currency <> p.base_currency
                   THEN (c.closed_at AT TIME ZONE 'UTC')::date END AS closed_on) day
 WHERE p.id = ANY(:portfolios)
 GROUP BY p.id, c.currency, day.closed_on
""")
    .bindparams(bindparam("portfolios", type_=ARRAY(Uuid())))
    .columns(closed_on=Date())
)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did.

    Args:
        refreshed: Agents whose line was computed anew.
        unchanged: Agents whose snapshots and round trips are those of their last refresh.
    """

    refreshed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class _Entrant:
    agent: Agent
    portfolio: Portfolio
    fingerprint: str


async def refresh_leaderboard(
    unit: UnitOfWork, agents: Iterable[Agent] | None = None, *, is_forced: bool = False
) -> Refreshed:
    """Bring the leaderboard up to date; a few statements however many agents there are.

    Equity is not computed here: `domain.trading.valuing.refresh_equity` comes first.

    Args:
        unit: An open READ COMMITTED transaction.
        agents: Which agents; None: all of the unit's scope.
        is_forced: Compute also the lines of agents that did not change since their last refresh.

    Raises:
        InvalidData: A round trip is in a currency without any exchange rate into the portfolio's.
    """
    locked = await _lock(unit, agents)
    prints = await _fingerprints(unit, locked)
    known = {row.agent_id: row.fingerprint for row in await _lines(unit, locked)}
    changed = [
        _Entrant(agent, portfolio, prints[portfolio.id])
        for agent, portfolio in locked
        if is_forced or known.get(agent.id) != prints[portfolio.id]
    ]
    for start in range(0, len(changed), _BATCH):
        await _write(unit, changed[start : start + _BATCH])
    return Refreshed(refreshed=len(changed), unchanged=len(locked) - len(changed))


async def _lock(
    unit: UnitOfWork, agents: Iterable[Agent] | None
) -> Sequence[tuple[Agent, Portfolio]]:
    statement = unit[Agent].query()
    if agents is not None:
        statement = statement.where(Agent.id == any_of({agent.id for agent in agents}))
    await unit.flush()
    # Editing an agent waits for us; whoever only names it in a foreign key does not.
    locking = statement.order_by(Agent.id).with_for_update(key_share=True, of=Agent)
    found = await unit[Agent].all(locking)
    portfolios = {
        portfolio.id: portfolio
        for portfolio in await unit[Portfolio].all(
            unit[Portfolio]
            .query(Portfolio.id == any_of({agent.portfolio_id for agent in found}))
            .execution_options(populate_existing=True)
        )
    }
    return [(agent, portfolios[agent.portfolio_id]) for agent in found]


async def _lines(unit: UnitOfWork, locked: Sequence[tuple[Agent, Portfolio]]) -> Sequence[Standing]:
    wanted = unit[Standing].query(Standing.agent_id == any_of({agent.id for agent, _ in locked}))
    return await unit[Standing].all(wanted.execution_options(populate_existing=True))


async def _fingerprints(
    unit: UnitOfWork, locked: Sequence[tuple[Agent, Portfolio]]
) -> Mapping[UUID, str]:
    parameters = {"portfolios": [portfolio.id for _, portfolio in locked]}
    found = await unit.session.execute(_FINGERPRINTS, parameters)
    return {row.id: row.fingerprint for row in found}


async def _write(unit: UnitOfWork, entrants: Sequence[_Entrant]) -> None:
    portfolios = {item.portfolio.id: item.portfolio for item in entrants}
    curves = await _curves(unit, portfolios)
    tallies = await _tallies(unit, portfolios)
    rows = [_row(item, curves[item.portfolio.id], tallies[item.portfolio.id]) for item in entrants]
    await unit[Standing].upsert_many(rows, key=["agent_id"], update=_FIGURES)


def _row(entrant: _Entrant, curve: Sequence[Snapshot], tally: Tally) -> dict[str, Any]:
    figures: Performance = performance(curve, inception=entrant.portfolio.inception_at)
    return {
        "agent_id": entrant.agent.id,
        "user_id": entrant.agent.user_id,
        "equity": figures.equity,
        "sharpe": figures.sharpe,
        "return_pct": figures.return_pct,
        "valued_at": figures.valued_at,
        "num_trades": tally.num_trades,
        "num_wins": tally.num_wins,
        "num_losses": tally.num_losses,
        "win_dollars": tally.win_dollars,
        "lose_dollars": tally.lose_dollars,
        "currency": entrant.portfolio.base_currency,
        "refreshed_at": now(),
        "fingerprint": entrant.fingerprint,
    }


async def _curves(
    unit: UnitOfWork, portfolios: Mapping[UUID, Portfolio]
) -> Mapping[UUID, Sequence[Snapshot]]:
    curves: defaultdict[UUID, list[Snapshot]] = defaultdict(list)
    found = await unit.session.execute(_CURVES, {"portfolios": list(portfolios)})
    for portfolio_id, time, equity, contributions, _ in found:
        curves[portfolio_id].append(Snapshot(time, equity, contributions))
    return curves


async def _tallies(unit: UnitOfWork, portfolios: Mapping[UUID, Portfolio]) -> Mapping[UUID, Tally]:
    tallies: defaultdict[UUID, Tally] = defaultdict(Tally)
    rates = _Rates(unit)
    found = await unit.session.execute(_TRIPS, {"portfolios": list(portfolios)})
    for row in found:
        rate = await rates.on(row.currency, portfolios[row.portfolio_id], row.closed_on)
        with exact():
            tally = Tally(
                row.num_trades,
                row.num_wins,
                row.num_losses,
                quantized(row.win_dollars * rate),
                quantized(row.lose_dollars * rate),
            )
        tallies[row.portfolio_id] = tallies[row.portfolio_id].plus(tally)
    return tallies


class _Rates:
    """Exchange rates of closing days, asked once a day and pair."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._rates = unit.repository(FxRateRepository)
        self._known: dict[tuple[str, str], Sequence[tuple[date, Decimal]]] = {}

    async def on(self, currency: str, portfolio: Portfolio, day: date | None) -> Decimal:
        """Return base currency for one unit of `currency` on `day`, or on the last fixing."""
        if day is None:
            return Decimal(1)
        pair = (currency, portfolio.base_currency)
        if pair not in self._known:
            self._known[pair] = await self._rates.history(*pair)
        fixings = self._known[pair]
        if not fixings:
            raise InvalidData("fx_rate", "/".join(pair), "be known to rank the portfolio")
        until = [rate for on, rate in fixings if on <= day]
        return until[-1] if until else fixings[0][1]
