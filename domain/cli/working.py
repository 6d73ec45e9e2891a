"""`tradekeep worker` and `tradekeep messages …`."""

import asyncio
import logging
import signal
from typing import Annotated, Final

import typer

from domain.cli.output import Format, err, out, print_mapping, print_rows
from domain.cli.reports import FormatOption
from domain.cli.running import FAILED, command, prepared_database
from domain.messaging import dead_letters as letters
from domain.messaging.backlog import backlog
from domain.messaging.models import ScheduledJob
from domain.ops.working import telling_worker

_DEAD: Final = ("consumer", "message_id", "topic", "key", "attempts", "dead_at", "last_error")
_JOBS: Final = (
    "name",
    "schedule",
    "next_run_at",
    "last_started_at",
    "last_finished_at",
    "last_result",
    "last_error",
)
_ACTOR: Final = "command line"

messages_app = typer.Typer(help="Messages, dead letters and jobs.", no_args_is_help=True)

ConsumerArgument = Annotated[str, typer.Argument(help="Who failed, from `messages dead`.")]
MessageArgument = Annotated[int, typer.Argument(help="Number of the message.")]


@command
async def worker_command() -> None:
    """Deliver messages and notices and run jobs until SIGTERM or SIGINT."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("tradekeep").setLevel(logging.INFO)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with (
        prepared_database() as db,
        telling_worker(db) as relay,
    ):
        err.print(f"working: {len(relay.consumers)} consumers", markup=False)
        await stopped.wait()
        err.print("stopping: what is in hand is finished first")


@messages_app.command("status")
@command
async def status_command(
    style: FormatOption = Format.TABLE,
    *,
    max_age: Annotated[
        int | None, typer.Option("--max-age", help="Status 1 when a message waits longer, seconds.")
    ] = None,
) -> None:
    """Show what waits, how long the oldest has, and what was given up."""
    async with prepared_database() as db, db.read(system=_ACTOR) as unit:
        found = await backlog(unit)
    print_mapping(found.as_dict(), style)
    if max_age is not None and found.age_seconds > max_age:
        raise typer.Exit(FAILED)


@messages_app.command("jobs")
@command
async def jobs_command(style: FormatOption = Format.TABLE) -> None:
    """Show the worker's jobs: when they come and how the last run went."""
    async with prepared_database() as db, db.read(system=_ACTOR) as unit:
        stored = await unit.jobs.all(unit.jobs.query().order_by(ScheduledJob.name))
    print_rows([{name: getattr(job, name) for name in _JOBS} for job in stored], _JOBS, style)


@messages_app.command("dead")
@command
async def dead_command(
    consumer: Annotated[str | None, typer.Option(help="One consumer's only.")] = None,
    limit: Annotated[int, typer.Option(help="At most this many.")] = 100,
    style: FormatOption = Format.TABLE,
) -> None:
    """Show messages that were given up, the newest first."""
    async with prepared_database() as db, db.read(system=_ACTOR) as unit:
        found = await letters.dead_letters(unit, consumer=consumer, limit=limit)
    print_rows([{name: getattr(item, name) for name in _DEAD} for item in found], _DEAD, style)


@messages_app.command("retry")
@command
async def retry_command(consumer: ConsumerArgument, message: MessageArgument) -> None:
    """Let a consumer try a message again at once."""
    async with prepared_database() as db, db.transaction(system=_ACTOR) as unit:
        await letters.retry(unit, consumer, message)
    out.print(f"{consumer} tries message {message} again", markup=False)


@messages_app.command("retry-all")
@command
async def retry_all_command(
    consumer: Annotated[str | None, typer.Option(help="One consumer's only.")] = None,
) -> None:
    """Let everything that was given up be tried again."""
    async with prepared_database() as db, db.transaction(system=_ACTOR) as unit:
        count = await letters.retry_all(unit, consumer=consumer)
    out.print(f"{count} messages are tried again")


@messages_app.command("discard")
@command
async def discard_command(consumer: ConsumerArgument, message: MessageArgument) -> None:
    """Throw a failed message away for a consumer."""
    async with prepared_database() as db, db.transaction(system=_ACTOR) as unit:
        await letters.discard(unit, consumer, message)
    out.print(f"message {message} is discarded for {consumer}", markup=False)
