"""The jobs of the worker: what every area wants done again and again, and when."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from domain.agents.refreshing import refresh_leaderboard
from domain.alerts import observing
from domain.alerts.terms import EARNINGS
from domain.audit import sealing
from domain.clock import now
from domain.database import Database, Worker
from domain.errors import InvalidData
from domain.identity.models import Ticket, User, UserSession
from domain.journal.attaching import sweep_attachments
from domain.market.rolling_up import roll_up_days
from domain.messaging.messages import ScreenerDue
from domain.messaging.pruning import prune, prune_notices
from domain.messaging.publishing import publish
from domain.messaging.scheduling import Job
from domain.ops.retention import maintain, retention
from domain.research.screening import claim_due_screeners
from domain.storage import Storage
from domain.trading.models import Portfolio
from domain.trading.valuing import mark_positions, refresh_equity

_LOG: Final = logging.getLogger("tradekeep.worker")
_AHEAD: Final = timedelta(days=400)
_EXCHANGE: Final = ZoneInfo("America/New_York")


def jobs(db: Database, storage: Storage | None = None) -> Sequence[Job]:
    """Return every job.

    Args:
        db: An open database; its settings say how long things are kept.
        storage: Where attachments are; None leaves them alone.
    """
    upkeep = Upkeep(db, storage)
    found = [
        Job("screeners-due", "* * * * *", upkeep.announce_due_screeners),
        Job("series-roll-up", "*/5 * * * *", upkeep.roll_up, limit=timedelta(minutes=30)),
        Job("series-maintain", "17 * * * *", upkeep.maintain_series, limit=timedelta(hours=2)),
        Job("positions-mark", "*/5 * * * *", upkeep.mark_positions),
        Job("alerts-expiries", "35 13 * * MON-FRI", upkeep.observe_expiries),
        Job("alerts-earnings", "31 13 * * MON-FRI", upkeep.observe_earnings),
        Job("alerts-assignment-risk", "*/15 13-21 * * MON-FRI", upkeep.observe_assignment_risk),
        Job("equity-refresh", "11 0 * * *", upkeep.refresh_equity, limit=timedelta(hours=4)),
        Job("leaderboard-refresh", "*/15 * * * *", upkeep.refresh_leaderboard),
        Job("messages-prune", "37 * * * *", upkeep.prune_messages, limit=timedelta(hours=1)),
        Job("notices-prune", "29 3 * * *", upkeep.prune_notices, limit=timedelta(hours=1)),
        Job("sessions-prune", "23 3 * * *", upkeep.prune_sessions),
        Job("audit-seal", "* * * * *", upkeep.seal_history),
    ]
    if storage is not None:
        found.append(
            Job("attachments-sweep", "41 3 * * *", upkeep.sweep_attachments, timedelta(hours=2))
        )
    return found


class Upkeep:
    """What the jobs do; each says in a few words what it did.

    Args:
        db: An open database.
        storage: Where attachments are.
    """

    def __init__(self, db: Database, storage: Storage | None) -> None:
        self.db, self.storage = db, storage

    async def announce_due_screeners(self) -> str:
        """Claim screeners whose time has come and tell whoever runs them."""

        async def some(unit: Worker) -> int:
            claimed = await claim_due_screeners(unit, limit=100)
            for screener in claimed:
                message = ScreenerDue(
                    user_id=screener.user_id,
                    screener_id=screener.id,
                    name=screener.name,
                    screener_type=screener.screener_type,
                    due_at=now(),
                )
                await publish(unit, message)
            return len(claimed)

        return f"{await self._until_done(some)} screeners due"

    async def roll_up(self) -> str:
        """Bring daily bars up to date."""
        return f"{await self._until_done(roll_up_days)} days rolled up"

    async def maintain_series(self) -> str:
        """Make pieces of time series ahead; archive, compress and drop old ones."""
        done = await maintain(self.db, retention(self.db.settings))
        made, dropped = sum(item.made for item in done), sum(item.dropped for item in done)
        return (
            f"{made} pieces made, {sum(item.archived for item in done)} archived, {dropped} dropped"
        )

    async def mark_positions(self) -> str:
        """Give open positions the newest prices."""
        async with self.db.transaction(system="positions-mark") as unit:
            return f"{await mark_positions(unit)} positions marked"

    async def refresh_equity(self) -> str:
        """Bring every equity curve up to yesterday; one that cannot be valued stops no other."""
        async with self.db.read(system="equity-refresh") as reader:
            portfolios = await reader.portfolios.all(
                reader.portfolios.query(Portfolio.archived_at.is_(None)).order_by(Portfolio.id)
            )
        yesterday, failed = now().date() - timedelta(days=1), 0
        for portfolio in portfolios:
            try:
                async with self.db.transaction(system="equity-refresh") as unit:
                    await refresh_equity(unit, portfolio, until=yesterday)
            except InvalidData as error:
                failed += 1
                _LOG.warning("equity of portfolio %s: %s", portfolio.id, error)
        return f"{len(portfolios) - failed} portfolios valued, {failed} could not be"

    async def refresh_leaderboard(self) -> str:
        """Bring the standings of agents up to date."""
        async with self.db.transaction(system="leaderboard-refresh") as unit:
            await refresh_leaderboard(unit)
        return "standings are up to date"

    async def observe_expiries(self) -> str:
        """Show the days until contracts expire to the rules about them."""
        async with self.db.transaction(system="alerts-expiries") as unit:
            fired = await observing.observe_expiries(unit, now().astimezone(_EXCHANGE).date())
        return f"{len(fired)} rules fired"

    async def observe_earnings(self) -> str:
        """Show the days until issuers report, as the calendar has them, to the rules about it."""
        today = now().astimezone(_EXCHANGE).date()
        start = datetime.combine(today, time(), UTC)
        async with self.db.transaction(system="alerts-earnings") as unit:
            coming = await unit.calendar_events.between(start, start + _AHEAD, event_type=EARNINGS)
            days: dict[UUID, date] = {}
            for event in coming:
                if event.instrument_id is not None and _day_of(event.occurs_at) >= today:
                    days.setdefault(event.instrument_id, _day_of(event.occurs_at))
            fired = await observing.observe_days_until(unit, days, today)
        return f"{len(fired)} rules fired"

    async def observe_assignment_risk(self) -> str:
        """Show how far short options are in the money to the rules about it."""
        async with self.db.transaction(system="alerts-assignment-risk") as unit:
            day = now().astimezone(_EXCHANGE).date()
            fired = await observing.observe_assignment_risk(unit, day)
        return f"{len(fired)} rules fired"

    async def prune_messages(self) -> str:
        """Delete messages that were delivered long ago."""
        days = self.db.settings.keep_messages_days
        if days is None:
            return "all messages are kept"
        messages, notes = await prune(self.db, timedelta(days=days))
        return f"{messages} messages and {notes} notes deleted"

    async def prune_notices(self) -> str:
        """Delete notices of long ago."""
        days = self.db.settings.keep_notices_days
        if days is None:
            return "all notices are kept"
        return f"{await prune_notices(self.db, timedelta(days=days))} notices deleted"

    async def prune_sessions(self) -> str:
        """Delete logins and tickets that ended long ago."""
        days = self.db.settings.keep_sessions_days
        if days is None:
            return "all sessions are kept"
        before = now() - timedelta(days=days)
        ended = UserSession.expires_at < before
        async with self.db.transaction(system="sessions-prune") as unit:
            await unit.tickets.delete_where(Ticket.expires_at < before)
            return f"{await unit.user_sessions.delete_where(ended)} sessions deleted"

    async def seal_history(self) -> str:
        """Seal the history; the log carries the newest seal to where the database is not."""
        made = await sealing.seal(self.db)
        if not made:
            return "nothing to seal"
        _LOG.info("audit: %s", sealing.told(made[-1]))
        return f"{sum(item.entries_count for item in made)} entries, {sealing.told(made[-1])}"

    async def sweep_attachments(self) -> str:
        """Delete objects of attachments that no row names."""
        if self.storage is None:
            return "there is no storage"
        async with self.db.read(system="attachments-sweep") as reader:
            users = (await reader.session.scalars(select(User.id))).all()
        gone = 0
        for user_id in users:
            async with self.db.transaction(system="attachments-sweep") as unit:
                gone += await sweep_attachments(unit, self.storage, user_id)
        return f"{gone} objects deleted"

    async def _until_done(self, some: Callable[[Worker], Awaitable[int]]) -> int:
        total = 0
        while True:
            async with self.db.transaction(system="worker") as unit:
                done = await some(unit)
            total += done
            if not done:
                return total


def _day_of(instant: datetime) -> date:
    """Return the exchange's day of an event; midnight in UTC stands for a day without a time."""
    is_day = instant.astimezone(UTC).time() == time()
    return (instant if is_day else instant.astimezone(_EXCHANGE)).date()
