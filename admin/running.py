"""Runs over many records: in batches, each one transaction; stopped, continued, nothing twice.

A record's outcome is written in the transaction that changes it, so that a process that dies
leaves what it has done and nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from admin.actions import Work
from admin.addressing import key_in
from admin.records import RecordView
from admin.translating import gettext
from admin.writing import Draft
from domain.database import Database, Worker
from domain.db.scope import limited_to
from domain.errors import (
    ConstraintViolation,
    InvalidData,
    NotFound,
    ReferenceViolation,
    RejectedValue,
    Stale,
)
from domain.identity.models import BulkItem, ItemOutcome, RunStatus, User
from domain.identity.reaching import reach_of

BATCH: Final = 100
_REFUSALS: Final = (InvalidData, ConstraintViolation, RejectedValue, NotFound, Stale)


async def run_on(db: Database, run_id: UUID, view: RecordView, work: Work) -> None:
    """Go on with a run until it is finished or stopped."""
    while await run_batch(db, run_id, view, work):
        pass


async def run_batch(db: Database, run_id: UUID, view: RecordView, work: Work) -> bool:
    """Do one batch of a run; return whether there is more to do.

    Args:
        db: The database.
        run_id: The run.
        view: The table.
        work: What is done to each record.
    """
    async with db.read(system="bulk run") as unit:
        owner = await unit.users.get((await unit.bulk_runs.get(run_id)).user_id)
        reach = await reach_of(unit, owner)
    with limited_to(reach):
        return await _run_batch(db, run_id, view, work=_for(work, owner), by=owner.username)


async def _run_batch(
    db: Database, run_id: UUID, view: RecordView, *, work: Callable[[Worker, Any], Any], by: str
) -> bool:
    async with db.transaction(staff=by) as unit:
        # The lock on the run keeps two that continue it from doing the same batch.
        run = await unit.bulk_runs.lock(run_id)
        if run is None or run.status is not RunStatus.RUNNING:
            return False
        items = await unit.bulk_items.next_of(run, BATCH)
        for item in items:
            await _do(unit, view, item, work)
        run.done += sum(item.outcome is ItemOutcome.DONE for item in items)
        run.skipped += sum(item.outcome is ItemOutcome.SKIPPED for item in items)
        if len(items) < BATCH:
            run.status = RunStatus.FINISHED
        return run.status is RunStatus.RUNNING


def _for(work: Work, owner: User) -> Callable[[Worker, Any], Any]:
    return lambda unit, record: work(unit, record, owner)


async def _do(
    unit: Worker, view: RecordView, item: BulkItem, work: Callable[[Worker, Any], Any]
) -> None:
    ident = key_in(view, item.record_key)
    try:
        async with unit.session.begin_nested():
            record = await view.rows(unit).lock(ident)
            if record is None:
                raise NotFound("it is gone")
            await work(unit, record)
            await unit.flush()
    except _REFUSALS as error:
        item.outcome, item.reason = ItemOutcome.SKIPPED, _reason(view, error)
    else:
        item.outcome = ItemOutcome.DONE


def _reason(view: RecordView, error: Exception) -> str:
    if isinstance(error, NotFound):
        return gettext("It is gone.")
    if isinstance(error, ReferenceViolation):
        return gettext("Other records still belong to it.")
    if isinstance(error, Stale):
        return gettext("Somebody else changed it at the same moment.")
    draft = Draft(view.fields(view.editable))
    assert isinstance(error, InvalidData | ConstraintViolation | RejectedValue)  # noqa: S101 - what is left of the refusals
    draft.note(error)
    return " ".join(draft.errors.values())


# ── what every table can have done ───────────────────────────────────────────────────────────────


def deletion(view: RecordView) -> Work:
    """Return the work that deletes a record of `view`."""

    async def delete(unit: Worker, record: Any, _: User) -> None:
        await view.rows(unit).remove(record)

    return delete


def change(view: RecordView, name: str, text: str) -> Work:
    """Return the work that writes one field.

    Raises:
        InvalidData: The field is not edited here, or the text stands for no value.
    """
    if name not in view.editable:
        raise InvalidData("field", name, "be a field that is edited here")
    (field,) = view.fields([name])
    value = field.value_of(text)

    async def write(unit: Worker, record: Any, _: User) -> object:
        ident: Sequence[Any] = tuple(view.mapper.primary_key_from_instance(record))
        version = record.version if view.is_versioned else None
        return await view.rows(unit).patch(ident, version=version, **{name: value})

    return write
