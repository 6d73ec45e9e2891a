"""Jobs that come again by cron: of any number of workers one runs each of them.

A worker claims a job for a limited time and not by a lock of its session, so it works through
PgBouncer, and a worker that is killed holds nothing up for longer than that. A job may therefore
run twice at once after its limit: each of ours may.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cronsim import CronSim
from sqlalchemy import or_, update
from sqlalchemy.dialects.postgresql import insert

from domain.clock import now
from domain.db.connection import Connections
from domain.messaging.models import ScheduledJob
from domain.messaging.redacting import reason_of
from domain.messaging.repositories import ScheduledJobRepository

_LOG: Final = logging.getLogger("tradekeep.worker")


@dataclass(frozen=True, slots=True)
class Job:
    """Work that comes again.

    Args:
        name: A lower-case word, under which its runs are stored.
        schedule: Cron expression of five fields, read in UTC.
        run: Does it and says in a few words what it did.
        limit: Longest run; after it the job is another worker's.
    """

    name: str
    schedule: str
    run: Callable[[], Awaitable[str]]
    limit: timedelta = timedelta(minutes=10)

    def next_after(self, instant: datetime) -> datetime:
        """Return when it comes next after an instant, UTC."""
        return next(CronSim(self.schedule, instant))


@dataclass
class Scheduler:
    """Runs the jobs that are due.

    Args:
        db: An open database.
        jobs: All of them; a job that is stored and not among them is left alone.
    """

    db: Connections[Any, Any]
    jobs: Sequence[Job]
    _is_announced: bool = False

    async def run_due(self) -> int:
        """Run the job that has been due for longest, if any is; return how many ran.

        A time that was missed while nobody worked is made up for once.
        """
        if not self._is_announced:
            await self._announce()
            self._is_announced = True
        claimed = await self._claim()
        if claimed is None:
            return 0
        await self._run(*claimed)
        return 1

    async def _announce(self) -> None:
        """Store jobs that are new, and the next time of those whose schedule is another."""
        async with self.db.transaction(system="scheduler") as unit:
            for job in self.jobs:
                coming = job.next_after(now())
                statement = insert(ScheduledJob).values(
                    name=job.name, schedule=job.schedule, next_run_at=coming
                )
                await unit.session.execute(
                    statement.on_conflict_do_update(
                        index_elements=["name"],
                        set_={"schedule": job.schedule, "next_run_at": coming},
                        where=ScheduledJob.schedule != job.schedule,
                    )
                )

    async def _claim(self) -> tuple[Job, datetime] | None:
        known = {job.name: job for job in self.jobs}
        async with self.db.transaction(system="scheduler") as unit:
            instant = now()
            jobs = unit.repository(ScheduledJobRepository)
            is_free = or_(
                ScheduledJob.running_until.is_(None), ScheduledJob.running_until <= instant
            )
            due = jobs.query(
                ScheduledJob.name.in_(known), ScheduledJob.next_run_at <= instant, is_free
            )
            waiting = due.order_by(ScheduledJob.next_run_at).with_for_update(skip_locked=True)
            stored = await jobs.first(waiting)
            if stored is None:
                return None
            job = known[stored.name]
            stored.last_started_at, stored.running_until = instant, instant + job.limit
            stored.next_run_at = job.next_after(instant)
        return job, instant

    async def _run(self, job: Job, started_at: datetime) -> None:
        try:
            async with asyncio.timeout(job.limit.total_seconds()):
                done = await job.run()
        except asyncio.CancelledError:
            # The next worker makes up for what this one was not given the time to end.
            await self._finish(job, started_at, next_run_at=started_at)
            raise
        except Exception as error:  # noqa: BLE001 - the other jobs go on whatever this one raised
            _LOG.warning("job %s: %s", job.name, reason_of(error))
            outcome: dict[str, Any] = {"last_error": reason_of(error)}
        else:
            outcome = {"last_error": None, "last_result": done}
        await self._finish(job, started_at, last_finished_at=now(), **outcome)

    async def _finish(self, job: Job, started_at: datetime, **values: Any) -> None:
        """Store the outcome, unless the job took so long that it is another worker's by now."""
        mine = ScheduledJob.name == job.name, ScheduledJob.last_started_at == started_at
        async with self.db.transaction(system="scheduler") as unit:
            await unit.session.execute(
                update(ScheduledJob).where(*mine).values(running_until=None, **values)
            )
