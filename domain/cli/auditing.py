"""`tradekeep audit seal | verify | show`."""

from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from domain.audit import sealing
from domain.audit.models import AuditEntry
from domain.audit.sealing import told
from domain.cli.output import Format, err, out, print_json, print_rows
from domain.cli.reports import FormatOption
from domain.cli.running import FAILED, command, prepared_database
from domain.errors import InvalidData
from domain.schema import metadata

audit_app = typer.Typer(help="The history of changes, and proof that it is whole.")

_SHOWN: Final = ("at", "action", "actor", "origin", "request_id", "column", "old", "new")
_SEAL: Final = ("number", "entries_count", "from_xid", "to_xid", "hash")


@audit_app.command("seal")
@command
async def seal_command(style: FormatOption = Format.TABLE) -> None:
    """Seal what was written since the last seal; keep the last hash elsewhere."""
    async with prepared_database() as db:
        made = await sealing.seal(db)
    print_rows([{name: getattr(item, name) for name in _SEAL} for item in made], _SEAL, style)


@audit_app.command("verify")
@command
async def verify_command(
    from_seal: Annotated[
        str | None,
        typer.Option(help="A hash kept elsewhere: it must be there; older ones are left out."),
    ] = None,
    style: FormatOption = Format.TABLE,
) -> None:
    """Recompute the seals; exits with 1 when an entry or a seal was changed, added or removed."""
    async with prepared_database() as db, db.snapshot(system="audit-verify") as unit:
        days = db.settings.keep_audit_days
        keep = None if days is None else timedelta(days=days)
        with err.status("recomputing the seals"):
            found = await sealing.verify(unit, from_seal=from_seal, keep=keep)
    if style is Format.JSON:
        print_json(_report(found))
    else:
        for fault in found.faults:
            out.print(f"seal {fault.seal}: {fault.what}", markup=False)
        if found.last:
            out.print(told(found.last), markup=False)
    err.print(
        f"{found.seals} seals over {found.entries} entries, {len(found.faults)} do not match;"
        f" {found.unsealed} entries are not sealed yet",
        markup=False,
    )
    if not found.is_intact:
        raise typer.Exit(FAILED)


@audit_app.command("show")
@command
async def show_command(
    table: Annotated[str, typer.Argument(help="The table: trading.trades.")],
    key: Annotated[str, typer.Argument(help="Primary key; parts joined by a semicolon.")],
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Newest entries shown.")] = 50,
    style: FormatOption = Format.TABLE,
) -> None:
    """Show who changed a row, when, and from what to what; the newest first."""
    if table not in metadata.tables:
        raise InvalidData("table", table, "be a table: schema.table")
    async with prepared_database() as db, db.read(system="command line") as unit:
        page = await unit.audit_entries.page(unit.audit_entries.of(table, key), limit=limit)
    rows = [row for entry in page.items for row in _lines(entry)]
    print_rows(rows, _SHOWN, style)


def _lines(entry: AuditEntry) -> list[dict[str, Any]]:
    old, new = entry.old_values or {}, entry.new_values or {}
    who = {name: getattr(entry, name) for name in _SHOWN[:5]}
    names = sorted({*old, *new}) or [""]
    return [{**who, "column": name, "old": old.get(name), "new": new.get(name)} for name in names]


def _report(found: sealing.Verified) -> dict[str, Any]:
    return {
        "seals": found.seals,
        "entries": found.entries,
        "unsealed": found.unsealed,
        "expired": found.expired,
        "last": None if found.last is None else found.last.hash,
        "faults": [{"seal": fault.seal, "what": fault.what} for fault in found.faults],
    }
