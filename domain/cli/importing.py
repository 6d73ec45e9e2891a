"""`tradekeep import …` and `tradekeep imports …`."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from domain.cli.output import Format, err, out, print_mapping, print_rows
from domain.cli.reports import FormatOption, PortfolioOption, UserOption
from domain.cli.running import FAILED, command, desk
from domain.database import Worker
from domain.errors import InvalidData
from domain.identity.models import User
from domain.trading.correcting import revert_import
from domain.trading.importing.booking import BrokerFile, ImportReport, import_file
from domain.trading.importing.formats import FORMATS
from domain.trading.models import ImportBatch, Portfolio

_REJECTED = ("line", "column", "value", "rule")
_BATCHES = ("id", "created_at", "source", "filename", "rows_new", "rows_duplicate", "status")

import_app = typer.Typer(help="Imports that were made.", no_args_is_help=True)


@command
async def import_file_command(  # noqa: PLR0913 - one parameter an option
    broker: Annotated[str, typer.Argument(help=f"Format: {', '.join(FORMATS)}.")],
    file: Annotated[Path, typer.Argument(help="The file.")],
    user: UserOption,
    portfolio: PortfolioOption,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen, write nothing.")
    ] = False,
    style: FormatOption = Format.JSON,
) -> None:
    """Import a broker's file; a missing portfolio is created. Twice does the same as once."""
    content = BrokerFile(broker, _read(file), file.name)
    content.parse()  # before anything is opened or created
    async with desk(user, portfolio) as at, at.writing() as unit:
        with err.status(f"importing {file.name}"):
            report = await _run(unit, at.user, portfolio, content, is_preview=dry_run)
        if dry_run:
            await unit.session.rollback()
    _show(report, style)
    if report.rejected:
        raise typer.Exit(FAILED)


async def _run(
    unit: Worker, user: User, name: str, file: BrokerFile, *, is_preview: bool
) -> ImportReport:
    portfolio = await unit.portfolios.find_named(name)
    if portfolio is None:
        portfolio = unit.portfolios.add(
            Portfolio(user_id=user.id, name=name, base_currency=user.base_currency)
        )
        await unit.flush()
        would = "would be " if is_preview else ""
        err.print(f"portfolio {name} {would}created", markup=False)
    return await import_file(unit, portfolio, file, is_preview=is_preview)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        reason = error.strerror or "not readable"
        raise InvalidData("file", file.name, f"be readable ({reason})") from None


def _show(report: ImportReport, style: Format) -> None:
    print_mapping(report.as_dict(), style)
    if style is not Format.JSON:
        print_rows(report.as_dict()["rejected"], _REJECTED, style)


@import_app.command("list")
@command
async def list_command(
    user: UserOption, portfolio: PortfolioOption, style: FormatOption = Format.TABLE
) -> None:
    """Show the imports of a portfolio, newest first."""
    async with desk(user, portfolio) as at, at.reading() as (unit, found):
        batches = await unit.import_batches.all(
            unit.import_batches.query(ImportBatch.portfolio_id == found.id).order_by(
                ImportBatch.created_at.desc()
            )
        )
        rows = [{name: getattr(batch, name) for name in _BATCHES} for batch in batches]
    print_rows(rows, _BATCHES, style)


@command
async def revert_command(
    import_id: Annotated[UUID, typer.Argument(help="Id from `tradekeep imports list`.")],
    user: UserOption,
) -> None:
    """Take back everything one import booked; the file can be imported again."""
    async with desk(user) as at, at.writing() as unit:
        count = await revert_import(unit, import_id)
    out.print(f"{count} trades reverted", markup=False)
