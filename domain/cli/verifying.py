"""`tradekeep verify`."""

from typing import Annotated, Any

import typer

from domain.cli.output import Format, err, print_json, print_rows
from domain.cli.reports import FormatOption
from domain.cli.running import FAILED, command, prepared_database
from domain.database import Reader
from domain.trading.models import Portfolio
from domain.trading.verifying import Verified, verify

_COLUMNS = ("portfolio", "subject", "stored", "expected")


@command
async def verify_command(
    user: Annotated[str | None, typer.Option("--user", "-u", help="One user's only.")] = None,
    portfolio: Annotated[str | None, typer.Option("--portfolio", "-p", help="One only.")] = None,
    style: FormatOption = Format.TABLE,
) -> None:
    """Replay every trade and compare with what is stored; exits with 1 on any break."""
    verdicts: list[Verified] = []
    async with prepared_database() as db, db.snapshot(system="verify") as unit:
        for found in await _chosen(unit, user, portfolio):
            with err.status(f"verifying {found.name}"):
                verdicts.extend([verdict async for verdict in verify(unit, [found])])
    _show(verdicts, style)
    if any(verdict.breaks for verdict in verdicts):
        raise typer.Exit(FAILED)


async def _chosen(unit: Reader, user: str | None, portfolio: str | None) -> list[Portfolio]:
    statement = unit.portfolios.query().order_by(Portfolio.user_id, Portfolio.name)
    if user is not None:
        statement = statement.where(Portfolio.user_id == (await unit.users.named(user)).id)
    if portfolio is not None:
        statement = statement.where(Portfolio.name == portfolio)
    return list(await unit.portfolios.all(statement))


def _show(verdicts: list[Verified], style: Format) -> None:
    breaks: list[dict[str, Any]] = [
        {name: getattr(item, name) for name in _COLUMNS}
        for verdict in verdicts
        for item in verdict.breaks
    ]
    unmatched = [
        {"portfolio": verdict.portfolio, "trade": key, "quantity": quantity}
        for verdict in verdicts
        for key, quantity in verdict.unmatched
    ]
    trades = sum(verdict.trades for verdict in verdicts)
    if style is Format.JSON:
        print_json(
            {
                "portfolios": len(verdicts),
                "trades": trades,
                "breaks": breaks,
                "unmatched": unmatched,
            }
        )
        return
    if breaks or style is Format.CSV:
        print_rows(breaks, _COLUMNS, style)
    for item in unmatched:
        err.print(f"note: {item['quantity']} of {item['trade']} found nothing open", markup=False)
    err.print(f"{len(verdicts)} portfolios, {trades} trades, {len(breaks)} breaks")
