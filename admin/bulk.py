"""Pages that do one thing to many records: asked with their number, done in batches, watched."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.actions import BulkAction, Work
from admin.addressing import key_text, uuid_of
from admin.counting import count_exactly
from admin.exporting import selection
from admin.listing import Listing
from admin.office import GET, POST, Office, for_writers
from admin.pages import root_of
from admin.records import RecordView
from admin.running import change, deletion, run_on
from admin.signing_in import staff_of
from admin.translating import gettext, marked
from admin.writing import explained
from domain.database import Repositories, Worker
from domain.errors import InvalidData
from domain.identity.models import BulkItem, BulkRun, ItemOutcome, RunStatus

MOST: Final = 50_000
"""Records of one run."""

_SAMPLE: Final = 8
_SHOWN: Final = 200
_PATIENCE: Final = 1.5
"""How long a page waits for a run before it shows its progress [s]."""

_LOG: Final = logging.getLogger("tradekeep.admin")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be done, and to which records.

    Args:
        listing: The list.
        action: What is done.
        keys: The chosen records, as in their addresses; empty for everything that matches.
        params: What the action was told.
    """

    listing: Listing
    action: BulkAction
    keys: Sequence[str] = ()
    params: dict[str, str] = field(default_factory=dict)

    def statement(self, unit: Repositories) -> Select[Any]:
        """Return the chosen records, in the order of the list."""
        view = self.listing.view
        # Chosen records are chosen, whatever has become of them since.
        chosen = [selection(view, self.keys)] if self.keys else self.listing.conditions()
        return view.rows(unit).query(*chosen).order_by(*self.listing.ordering())


async def _never(_: Worker, record: Any, __: Any) -> object:
    raise InvalidData("action", type(record).__name__, "be one of the table's own")


EDITING: Final = BulkAction("edit", marked("Edit one field"), marked("Write this to them?"), _never)
DELETING: Final = BulkAction(
    "delete",
    marked("Delete"),
    marked("Delete these records? What belongs to them goes with them."),
    _never,
)


def actions_of(request: Request, view: RecordView) -> list[BulkAction]:
    """Return what a member of staff may have done to records of `view`."""
    staff = staff_of(request)
    declared = [action for action in view.bulk_actions if staff.may(view.identity, action.power)]
    if view.may_edit(request):
        declared.append(EDITING)
    if view.may_delete(request):
        declared.append(DELETING)
    return declared


def _work(view: RecordView, action: BulkAction, params: dict[str, str]) -> Work:
    if action.name == "edit":
        return change(view, params.get("field", ""), params.get("text", ""))
    return deletion(view) if action.name == "delete" else action.work


class Bulk:
    """The pages.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/{identity}/bulk", for_writers(self.ask), methods=POST),
            Route("/{identity}/bulk/start", for_writers(self.start), methods=POST),
            Route("/runs/{pk}", self.show, methods=GET),
            Route("/runs/{pk}/stop", for_writers(self.stop), methods=POST),
            Route("/runs/{pk}/continue", for_writers(self.go_on), methods=POST),
        ]

    def _choice(self, request: Request, form: FormData) -> Choice:
        view = self.office.view_of(request)
        wanted = str(form.get("action", ""))
        action = next((item for item in actions_of(request, view) if item.name == wanted), None)
        if action is None:
            raise HTTPException(403, "This is not done to many records here.")
        zone, query = staff_of(request).user.timezone, str(form.get("query", ""))
        listing = Listing.of_text(view, query.removeprefix("?"), zone)
        listing.validate()
        keys = list(dict.fromkeys(str(key) for key in form.getlist("key")))
        if form.get("scope") == "all":
            keys = []
        elif not keys:
            raise InvalidData("selection", "", "name at least one record")
        params = {name: str(form[name]) for name in ("field", "text") if name in form}
        return Choice(listing, action, keys, params)

    async def ask(self, request: Request) -> Response:
        """Ask whether to do it, with the exact number of records and some of their names."""
        choice = self._choice(request, await request.form(max_files=0, max_fields=1_100))
        return await self._question(request, choice)

    async def _question(self, request: Request, choice: Choice, *, error: str = "") -> Response:
        view = choice.listing.view
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            count = await _count(unit, choice)
            first = choice.statement(unit).options(*view.loading(view.columns)).limit(_SAMPLE)
            sample = [view.option(record) for record in await view.rows(unit).all(first)]
        context = {
            "view": view,
            "choice": choice,
            "count": count,
            "sample": sample,
            "error": error,
            "fields": view.fields(view.editable) if choice.action.name == "edit" else [],
        }
        status = 422 if error else 200
        return self.office.pages.render(request, "bulk.html", context, status=status)

    async def start(self, request: Request) -> Response:
        """Write down which records it is about, and begin."""
        form = await request.form(max_files=0, max_fields=1_100)
        choice = self._choice(request, form)
        view = choice.listing.view
        try:
            work = _work(view, choice.action, choice.params)
        except InvalidData as invalid:
            return await self._question(request, choice, error=explained(invalid))
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            keys = await _keys(unit, choice)
            if str(len(keys)) != form.get("count"):
                error = gettext("The list changed meanwhile: look at the number again.")
                return await self._question(request, choice, error=error)
            run_id = await _write_down(unit, choice, keys, owner=staff_of(request).user.id)
        await self._begin(run_id, view, work)
        return self._to(request, run_id)

    async def show(self, request: Request) -> Response:
        """Show how a run stands; the page asks again by itself until it is finished."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            run = await unit.bulk_runs.get(uuid_of(request))
            skipped = unit.bulk_items.query(
                BulkItem.run_id == run.id, BulkItem.outcome == ItemOutcome.SKIPPED
            )
            items = await unit.bulk_items.all(skipped.order_by(BulkItem.position).limit(_SHOWN))
        view = self._view(run)
        known = {action.name: action.label for action in (*view.bulk_actions, EDITING, DELETING)}
        context = {"run": run, "view": view, "items": items, "statuses": RunStatus}
        context["label"] = known.get(run.action, run.action)
        response = self.office.pages.render(request, "run.html", context)
        if run.status is RunStatus.RUNNING:
            response.headers["refresh"] = "2"
        return response

    async def stop(self, request: Request) -> Response:
        """Stop a run after the batch that it is at."""
        await self._set(request, RunStatus.RUNNING, RunStatus.STOPPED)
        return self._to(request, uuid_of(request))

    async def go_on(self, request: Request) -> Response:
        """Go on with a run that was stopped, or whose process ended."""
        run = await self._set(request, RunStatus.STOPPED, RunStatus.RUNNING)
        view = self._view(run)
        known = {action.name: action for action in actions_of(request, view)}
        if run.action not in known:
            raise HTTPException(403, "Your role does not do this.")
        if run.status is not RunStatus.FINISHED:
            await self._begin(run.id, view, _work(view, known[run.action], run.params))
        return self._to(request, run.id)

    def _view(self, run: BulkRun) -> RecordView:
        view: RecordView | None = self.office.views.get(run.view)
        if view is None:
            raise HTTPException(403, "Your role does not allow this.")
        return view

    async def _set(self, request: Request, old: RunStatus, new: RunStatus) -> BulkRun:
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            run = await unit.bulk_runs.lock(uuid_of(request))
            if run is None or run.user_id != staff_of(request).user.id:
                raise HTTPException(404, "There is no such run of yours.")
            if run.status is old:
                run.status = new
            await unit.flush()
        return run

    async def _begin(self, run_id: UUID, view: RecordView, work: Work) -> None:
        """Run beside the page; a short run is over before the page is shown."""
        task = asyncio.create_task(run_on(self.office.db, run_id, view, work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=_PATIENCE)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a bulk run broke off; it can be continued", exc_info=error)

    def _to(self, request: Request, run_id: UUID) -> Response:
        return RedirectResponse(f"{root_of(request)}/runs/{run_id}", 303)


async def _count(unit: Repositories, choice: Choice) -> int:
    """Return how many records are chosen.

    Raises:
        InvalidData: A chosen record is not there, or there are more than one run takes.
    """
    if choice.keys:
        rows = choice.listing.view.rows(unit)
        count = await rows.count(rows.query(selection(choice.listing.view, choice.keys)))
        if count != len(choice.keys):
            missing = len(choice.keys) - count
            raise InvalidData("selection", f"{missing} unknown", "name records that are there")
        return count
    count = await count_exactly(unit, choice.listing)
    if count > MOST:
        raise InvalidData("selection", count, f"be at most {MOST:,} records: narrow the list")
    return count


async def _keys(unit: Worker, choice: Choice) -> list[str]:
    view = choice.listing.view
    await _count(unit, choice)
    if choice.keys:
        return list(choice.keys)
    columns = view.mapper.primary_key
    found = await unit.session.execute(choice.statement(unit).with_only_columns(*columns))
    return [key_text(tuple(row)) for row in found]


async def _write_down(unit: Worker, choice: Choice, keys: Sequence[str], *, owner: UUID) -> UUID:
    run = unit.bulk_runs.add(
        BulkRun(
            user_id=owner,
            view=choice.listing.view.identity,
            action=choice.action.name,
            params=dict(choice.params),
            total=len(keys),
        )
    )
    await unit.flush()
    shared = {"user_id": owner, "run_id": run.id}
    rows = [{**shared, "position": at, "record_key": key} for at, key in enumerate(keys, start=1)]
    if rows:
        await unit.bulk_items.insert_many(rows)
    return run.id
