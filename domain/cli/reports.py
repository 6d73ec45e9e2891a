"""`tradekeep positions | pnl | cash | trades`."""

from typing import Annotated, Final

import typer

from domain.cli.output import Format, print_rows
from domain.cli.running import command, desk
from domain.trading import reporting

UserOption = Annotated[str, typer.Option("--user", "-u", help="Login name of the tenant.")]
PortfolioOption = Annotated[str, typer.Option("--portfolio", "-p", help="Name of the portfolio.")]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print it.")]

_POSITIONS: Final = (
    "symbol",
    "kind",
    "side",
    "quantity",
    "entry_price",
    "open_value",
    "open_fees",
    "currency",
    "price",
    "market_value",
    "unrealized",
    "opened_at",
)
_TRADES: Final = (
    "executed_at",
    "symbol",
    "kind",
    "side",
    "quantity",
    "price",
    "gross_amount",
    "commission",
    "fees",
    "currency",
    "source",
    "external_id",
)
_PNL: Final = ("gross", "fees", "net", "closures")


@command
async def positions_command(
    user: UserOption, portfolio: PortfolioOption, style: FormatOption = Format.TABLE
) -> None:
    """Show the open positions of a portfolio."""
    async with desk(user, portfolio) as at, at.reading() as (unit, found):
        print_rows(await reporting.positions(unit, found), _POSITIONS, style)


@command
async def pnl_command(
    user: UserOption,
    portfolio: PortfolioOption,
    by: Annotated[
        str, typer.Option(help=f"Groups: {', '.join(reporting.PNL_GROUPS)}.")
    ] = "year,kind",
    style: FormatOption = Format.TABLE,
) -> None:
    """Show realized profit, grouped; years and months are those of the closing trade, in UTC."""
    groups = [name.strip() for name in by.split(",") if name.strip()]
    async with desk(user, portfolio) as at, at.reading() as (unit, found):
        rows = await reporting.pnl(unit, found, groups)
    columns = [name for name in rows[0] if name not in _PNL] if rows else groups
    print_rows(rows, [*columns, *_PNL], style)


@command
async def cash_command(
    user: UserOption, portfolio: PortfolioOption, style: FormatOption = Format.TABLE
) -> None:
    """Show what moved the cash of a portfolio, by kind and currency."""
    async with desk(user, portfolio) as at, at.reading() as (unit, found):
        print_rows(await reporting.cash(unit, found), ("kind", "currency", "amount"), style)


@command
async def trades_command(
    user: UserOption,
    portfolio: PortfolioOption,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 100,
    style: FormatOption = Format.TABLE,
) -> None:
    """Show the newest trades of a portfolio."""
    async with desk(user, portfolio) as at, at.reading() as (unit, found):
        print_rows(await reporting.trades(unit, found, limit=limit), _TRADES, style)
