"""Takes back an import into a table: what it made goes, what it changed is as before.

Nothing is taken back when anything has changed since: the reasons are named instead.
"""

from collections.abc import Sequence
from typing import Any, Final

from admin.addressing import key_in
from admin.deleting import consequences_of
from admin.fields import label_of
from admin.records import RecordView
from admin.translating import gettext, inside
from domain.clock import now
from domain.database import Worker
from domain.errors import InvalidData, NotFound, ReferenceViolation
from domain.identity.models import ImportStatus, RowOutcome, TableImport, TableImportRow

_BATCH: Final = 1_000


async def take_back(unit: Worker, imported: TableImport, view: RecordView) -> Sequence[str]:
    """Undo an import; return why it cannot be undone, and then roll the transaction back.

    Args:
        unit: An open transaction.
        imported: The import.
        view: The table that it went into.

    Raises:
        InvalidData: It was taken back before.
    """
    locked = await unit.table_imports.lock(imported.id)
    if locked is None or locked.status is ImportStatus.REVERTED:
        raise InvalidData("import", str(imported.id), "not be taken back already")
    reasons = []
    for row in await _rows(unit, imported):
        reason = await _undo(unit, view, row)
        if reason:
            reasons.append(gettext("Line %(line)s: %(reason)s", line=row.line, reason=reason))
    if not reasons:
        locked.status, locked.reverted_at = ImportStatus.REVERTED, now()
        await unit.flush()
    return reasons


async def _rows(unit: Worker, imported: TableImport) -> Sequence[TableImportRow]:
    written = TableImportRow.outcome.in_([RowOutcome.INSERTED, RowOutcome.UPDATED])
    own = unit.table_import_rows.query(TableImportRow.import_id == imported.id, written)
    return await unit.table_import_rows.all(own.order_by(TableImportRow.line.desc()))


async def _undo(unit: Worker, view: RecordView, row: TableImportRow) -> str:
    """Undo one row; return why that cannot be."""
    ident = key_in(view, row.record_key or "")
    try:
        record = None if ident is None else await view.rows(unit).lock(ident)
    except NotFound:
        record = None
    if record is None:
        return gettext("the record is gone.")
    after: dict[str, str] = row.after or {}
    changed = [name for name, text in _texts(view, record, after).items() if text != after[name]]
    if changed:
        return gettext("%(names)s changed since.", names=", ".join(map(label_of, changed)))
    if row.outcome is RowOutcome.INSERTED:
        return await _remove(unit, view, record)
    await _restore(unit, view, record, row.before or {})
    return ""


async def _remove(unit: Worker, view: RecordView, record: Any) -> str:
    meant = await consequences_of(unit, view, record)
    if others := [*meant.obstacles, *meant.gone]:
        return gettext("%(names)s belong to the record by now.", names=inside(others[0].label))
    try:
        async with unit.session.begin_nested():
            await view.rows(unit).remove(record)
            await unit.flush()
    except ReferenceViolation:
        return gettext("other records refer to it by now.")
    return ""


async def _restore(unit: Worker, view: RecordView, record: Any, before: dict[str, str]) -> None:
    values = {
        item.name: item.read(before[item.name]) if before[item.name] else None
        for item in view.fields(list(before))
    }
    ident = tuple(view.mapper.primary_key_from_instance(record))
    version = record.version if view.is_versioned else None
    await view.rows(unit).patch(ident, version=version, **values)


def _texts(view: RecordView, record: Any, names: dict[str, str]) -> dict[str, str]:
    return {item.name: item.write(getattr(record, item.name)) for item in view.fields(list(names))}
