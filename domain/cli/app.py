"""The command tree."""

import typer

from domain.cli.auditing import audit_app
from domain.cli.caching import cache_app
from domain.cli.checking import check_command
from domain.cli.database import database_app
from domain.cli.importing import import_app, import_file_command, revert_command
from domain.cli.reports import cash_command, pnl_command, positions_command, trades_command
from domain.cli.series import series_app
from domain.cli.serving import health_command, run_command
from domain.cli.streaming import stream_app
from domain.cli.users import user_app
from domain.cli.verifying import verify_command
from domain.cli.working import messages_app, worker_command

app = typer.Typer(
    name="tradekeep",
    help="The data layer of a trading team: exact ledger, PostgreSQL models, web admin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run_command)
app.command("worker")(worker_command)
app.add_typer(messages_app, name="messages")
app.add_typer(database_app, name="db")
app.add_typer(user_app, name="user")
app.command("import")(import_file_command)
app.add_typer(import_app, name="imports")
app.command("positions")(positions_command)
app.command("pnl")(pnl_command)
app.command("cash")(cash_command)
app.command("trades")(trades_command)
app.command("verify")(verify_command)
app.command("health")(health_command)
app.command("check")(check_command)
app.add_typer(series_app, name="series")
app.add_typer(stream_app, name="stream")
app.add_typer(cache_app, name="cache")
app.add_typer(audit_app, name="audit")
import_app.command("revert")(revert_command)


def main() -> None:
    """Run the command line."""
    app()
