"""`tradekeep check`: whether the deployment is safe."""

import json
from typing import Annotated

import typer

from domain.cli.output import err, out
from domain.cli.running import FAILED, command
from domain.database import Database
from domain.ops.deploying import Finding, Level, check_deployment


@command
async def check_command(
    *,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Look at what a public deployment needs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Look for what is unsafe; exits with 1 when something is wrong.

    Without --deploy only errors are shown that concern every installation: the database's.
    """
    async with Database() as db:
        found = await check_deployment(db)
    if not deploy:
        found = [item for item in found if item.id >= "SEC020" and item.level is Level.ERROR]
    if as_json:
        print(json.dumps([item.as_dict() for item in found]))  # noqa: T201 - for programs
    else:
        _show(found)
    if any(item.level is Level.ERROR for item in found):
        raise typer.Exit(FAILED)


def _show(found: list[Finding]) -> None:
    for item in found:
        out.print(f"{item.id} {item.level}: {item.message}; {item.remedy}", markup=False)
    if not found:
        err.print("nothing was found", markup=False)
