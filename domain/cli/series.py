"""`tradekeep series …`."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.filesize import decimal

from domain.cli.output import Format, err, out, print_rows
from domain.cli.reports import FormatOption
from domain.cli.running import FAILED, command, prepared_database
from domain.clock import now
from domain.database import Database, Reader
from domain.errors import InvalidData, MultipleFound, NotFound
from domain.market.calendars import AlwaysOpen, ExchangeCalendar, TradingCalendar
from domain.market.gaps import Series, find_gaps
from domain.market.rolling_up import rebuild_days, roll_up_days
from domain.market.terms import Timeframe
from domain.ops.growth import growth
from domain.ops.retention import Retention, maintain, retention
from domain.settings import Settings

_GROWTH: Final = ("table", "form", "pieces", "oldest", "newest", "rows", "size", "bytes")
_UPKEEP: Final = ("table", "made", "compressed", "archived", "dropped")
_GAPS: Final = ("first", "last", "missing")
_ALWAYS: Final = "always"
_LONGEST_DAYS: Final = 36_500

series_app = typer.Typer(help="Tables that grow by time: bars and ticks.", no_args_is_help=True)


@series_app.command("status")
@command
async def status_command(style: FormatOption = Format.TABLE) -> None:
    """Show each time series: its pieces, the time they span, rows as of the last ANALYZE, size."""
    async with prepared_database() as db:
        found = await growth(db)
    rows = [dataclasses.asdict(item) | {"size": decimal(item.bytes)} for item in found]
    columns = [name for name in _GROWTH if name != ("bytes" if style is Format.TABLE else "size")]
    print_rows(rows, columns, style)


@series_app.command("maintain")
@command
async def maintain_command(
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", help="TABLE=DAYS instead of the settings, say market.bars=730; repeatable."
        ),
    ] = None,
    style: FormatOption = Format.TABLE,
) -> None:
    """Make pieces ahead; compress, archive and drop old ones as the settings say."""
    policies = _overridden(retention(Settings.load()), keep or [])
    async with prepared_database() as db:
        with err.status("looking after time series"):
            done = await maintain(db, policies)
    print_rows([dataclasses.asdict(item) for item in done], _UPKEEP, style)


@series_app.command("roll-up")
@command
async def roll_up_command(
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="All days that have bars, not the changed ones alone.")
    ] = False,
) -> None:
    """Bring daily bars up to date with the bars that changed."""
    async with prepared_database() as db:
        with err.status("rolling up"):
            done = await _roll_up(db, rebuild=rebuild)
        async with db.read(system="roll-up") as unit:
            waiting = await unit.stale_days.count()
    out.print(f"{done} days rolled up, {waiting} waiting")


@series_app.command("gaps")
@command
async def gaps_command(  # noqa: PLR0913 - one parameter an option
    symbol: Annotated[str, typer.Argument(help="Ticker, OSI symbol or id of the instrument.")],
    *,
    calendar: Annotated[
        str, typer.Option(help=f"Exchange, say XNYS, or {_ALWAYS}: a market that never closes.")
    ],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")],
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="End, exclusive; today when not given."),
    ] = None,
    timeframe: Annotated[Timeframe, typer.Option(help="Length of the bars.")] = Timeframe.D1,
    source: Annotated[str | None, typer.Option(help="One source's bars only.")] = None,
    style: FormatOption = Format.TABLE,
) -> None:
    """Show bars that a trading calendar expects and that are missing; exits with 1 when any is."""
    opened = _calendar(calendar)
    last = (end or now()).date()
    async with prepared_database() as db, db.snapshot(system="gaps") as unit:
        series = Series(await _instrument(unit, symbol), timeframe, source)
        found = await find_gaps(unit, series, opened, start=first.date(), end=last)
    if found or style is not Format.TABLE:
        print_rows([dataclasses.asdict(gap) for gap in found], _GAPS, style)
    missing = sum(gap.missing for gap in found)
    err.print(f"gaps: {len(found)}, missing bars: {missing}" if found else "no gaps")
    if found:
        raise typer.Exit(FAILED)


def _overridden(policies: Sequence[Retention], given: Sequence[str]) -> list[Retention]:
    known = {policy.table: policy for policy in policies}
    for item in given:
        table, _, days = item.partition("=")
        if table not in known:
            raise InvalidData("--keep", item, f"name one of {', '.join(known)}, as in TABLE=DAYS")
        if not (days.isascii() and days.isdecimal() and 1 <= int(days) <= _LONGEST_DAYS):
            raise InvalidData("--keep", item, f"give 1 to {_LONGEST_DAYS} days, as in {table}=730")
        known[table] = dataclasses.replace(known[table], keep=timedelta(days=int(days)))
    return list(known.values())


async def _roll_up(db: Database, *, rebuild: bool) -> int:
    if rebuild:
        async with db.transaction(system="roll-up") as unit:
            return await rebuild_days(unit)
    done = 0
    while taken := await _roll_up_some(db):
        done += taken
    return done


async def _roll_up_some(db: Database) -> int:
    async with db.transaction(system="roll-up") as unit:
        return await roll_up_days(unit)


def _calendar(name: str) -> TradingCalendar:
    return AlwaysOpen() if name == _ALWAYS else ExchangeCalendar(name)


async def _instrument(unit: Reader, symbol: str) -> UUID:
    try:
        wanted = UUID(symbol)
    except ValueError:
        found = [item.id for item in await unit.instruments.by_symbol(symbol)]
    else:
        found = [(await unit.instruments.get(wanted)).id]
    if not found:
        raise NotFound(f"no instrument {symbol}")
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise MultipleFound(f"{symbol} is the symbol of several instruments, name one: {listed}")
    return found[0]
