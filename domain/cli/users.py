"""`tradekeep user …`."""

import os
from typing import Annotated

import typer

from domain.cli.output import out
from domain.cli.running import command, prepared_database
from domain.errors import ConfigurationError, InvalidData
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.identity.reaching import choose_tenants
from domain.identity.signing_in import set_password

PASSWORD_VARIABLE = "TRADEKEEP_PASSWORD"  # noqa: S105 - the name of a variable

user_app = typer.Typer(help="People and services.", no_args_is_help=True)


def ask_password() -> str:
    """Return the password from the environment, else ask for it twice, unseen.

    Raises:
        ConfigurationError: Nobody is there to ask.
    """
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    try:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    except typer.Abort:
        raise ConfigurationError(f"no password: set {PASSWORD_VARIABLE} or type one") from None


@user_app.command("create")
@command
async def create_command(
    name: Annotated[str, typer.Argument(help="Login name.")],
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.USER,
) -> None:
    """Make a user; asks for the password or takes TRADEKEEP_PASSWORD."""
    password = ask_password()
    async with prepared_database() as db, db.transaction(system="user create") as unit:
        user = await create_user(unit, name, password=password, role=role)
    out.print(f"user {user.username} created with role {user.role}", markup=False)


@user_app.command("passwd")
@command
async def passwd_command(name: Annotated[str, typer.Argument(help="Login name.")]) -> None:
    """Give a user a new password and end every login made with the old one."""
    password = ask_password()
    async with prepared_database() as db, db.transaction(system="user passwd") as unit:
        user = await unit.users.named(name)
        await set_password(unit, user, password)
    out.print(f"password of {user.username} changed", markup=False)


@user_app.command("limit")
@command
async def limit_command(
    name: Annotated[str, typer.Argument(help="Login name of the member of staff.")],
    to: Annotated[list[str] | None, typer.Option(help="A tenant they see; repeat it.")] = None,
    *,
    everybody: Annotated[bool, typer.Option("--all", help="They see all tenants again.")] = False,
) -> None:
    """Limit a member of staff to some tenants, from their next request on."""
    if everybody == bool(to):
        raise InvalidData("to", to or [], "name tenants, or be left out for --all")
    async with prepared_database() as db, db.transaction(system="user limit") as unit:
        user = await unit.users.named(name)
        tenants = [(await unit.users.named(tenant)).id for tenant in to or ()]
        await choose_tenants(unit, user, None if everybody else tenants, by="system:user limit")
    seen = "all tenants" if everybody else ", ".join(sorted(set(to or ())))
    out.print(f"user {user.username} sees {seen}", markup=False)
