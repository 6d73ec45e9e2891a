"""The history of one record: who changed what from what to what, and the way back.

Going back writes nothing by itself. The values of an edit come into the record's form, where they
are compared, changed and saved like any others; a deleted record is inserted again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

from sqlalchemy import null, select
from sqlalchemy.dialects.postgresql import JSONB
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import key_of
from admin.fields import label_of
from admin.naming import Names, names_of
from admin.office import BOTH, GET, Office, for_writers
from admin.pages import root_of
from admin.records import REFERENCES, RecordView
from admin.rendering import Cell, instant, show
from admin.signing_in import staff_of
from admin.translating import gettext, marked, word
from admin.writing import Draft
from domain.audit.models import REDACTED, AuditEntry
from domain.audit.policies import history_of, recorded
from domain.audit.reading import actors_who_are_users, value_of, went_with
from domain.audit.repositories import AuditEntryRepository
from domain.db.unit import Unit, UnitOfWork
from domain.errors import ConstraintViolation, InvalidData, RejectedValue
from domain.identity.models import User

_PAGE: Final = 25
_FOLDED: Final = 8
"""Values of a step that stand open; more are folded away."""

_ACTIONS: Final = {
    "insert": marked("made"),
    "update": marked("changed"),
    "delete": marked("deleted"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One column before and after.

    Args:
        label: What people read.
        help: What it means.
        old: Before.
        new: After.
    """

    label: str
    help: str
    old: Cell
    new: Cell


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a record's history.

    Args:
        entry: The entry.
        at: When, in the reader's zone.
        did: What was done, in a word.
        who: By whom.
        who_link: The page of that user; empty for staff names and jobs.
        differences: The columns.
        restore: Where the old values come into a form; empty where they cannot.
    """

    entry: AuditEntry
    at: Cell
    did: str
    who: str
    who_link: str
    differences: Sequence[Difference]
    restore: str

    @property
    def is_folded(self) -> bool:
        """Whether its values are too many to stand open."""
        return len(self.differences) > _FOLDED


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page of a record's history.

    Args:
        title: The record's name.
        steps: The entries, the newest first.
        after: Query of the next page; empty on the last.
        before: Query of the previous page; empty on the first.
        is_there: Whether the record still exists.
        restore: Where the deleted record is inserted again; empty where it cannot be.
        why_not: Why no history, or not all of it, is kept.
    """

    title: str
    steps: Sequence[Step]
    after: str
    before: str
    is_there: bool
    restore: str
    why_not: str


class Histories:
    """The pages.

    Args:
        office: The database, the templates and the views.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/{identity}/history/{pk:path}", self.show, methods=GET),
            Route("/{identity}/restore/{pk:path}", for_writers(self.restore), methods=BOTH),
        ]

    async def show(self, request: Request) -> Response:
        """Show who changed a record, also one that is gone."""
        view = self.office.view_of(request)
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            timeline = await _Reading(unit, view, request).timeline()
        return self.office.pages.render(
            request,
            "history.html",
            {"view": view, "timeline": timeline, "pk": request.path_params["pk"]},
        )

    async def restore(self, request: Request) -> Response:
        """Show a deleted record and what went with it, or insert it again."""
        view, pk = self.office.view_of(request), str(request.path_params["pk"])
        if not view.may_delete(request) or not is_restorable(view):
            raise HTTPException(
                405,
                gettext("%(names)s are not restored here.", names=gettext(view.name_plural)),
            )
        draft = Draft([])
        if request.method == "POST":
            async with self.office.db.transaction(staff=staff_of(request).name) as unit:
                is_back = await _insert_again(unit, view, await _deletion(unit, view, pk), draft)
                if not is_back:
                    await unit.session.rollback()
            if is_back:
                return RedirectResponse(f"{root_of(request)}/{view.identity}/details/{pk}", 303)
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            entry = await _deletion(unit, view, pk)
            step = (await _Reading(unit, view, request).steps([entry]))[0]
            along = [(_called(table), count) for table, count in await went_with(unit, entry)]
        context = {"view": view, "step": step, "along": along, "pk": pk}
        context["error"] = draft.errors.get("", "")
        return self.office.pages.render(
            request, "restore.html", context, status=422 if draft.errors else 200
        )


async def restored_draft(unit: Unit, view: RecordView, request: Request, draft: Draft) -> None:
    """Put the values from before an edit into a form, which then says so.

    Args:
        unit: Any unit.
        view: The record's view.
        request: Its query says which entry: ``?restore=<id>``.
        draft: The form of the record as it is.

    Raises:
        HTTPException: 404 when there is no such entry of this record.
    """
    entry = await _entry(unit, view, request)
    kept = entry.old_values or {}
    for item in draft.fields:
        column = view.mapper.column_attrs[item.name].columns[0]
        if column.name in kept:
            draft.texts[item.name] = item.write(_kept(column, kept[column.name]))
    when = instant(entry.at, staff_of(request).user.timezone).text
    draft.about = gettext(
        "Filled in from before the change at %(when)s. Nothing is written until you save.",
        when=when,
    )
    if not draft.changed():
        draft.about = gettext(
            "The record has the values from before %(when)s again already.", when=when
        )


def is_restorable(view: RecordView) -> bool:
    """Return whether the history keeps all that a record needs: secrets it does not."""
    needed = (c for c in recorded(view.table) if c.info.get("secret") and not c.nullable)
    return view.is_deletable and next(needed, None) is None


async def _entry(unit: Unit, view: RecordView, request: Request) -> AuditEntry:
    repository = unit.repository(AuditEntryRepository)
    found = None
    try:
        wanted = UUID(request.query_params["restore"])
    except ValueError:
        wanted = None
    if wanted is not None:
        of_record = repository.of(view.table.fullname, str(request.path_params["pk"]))
        found = await repository.first(of_record.where(AuditEntry.id == wanted))
    if found is None:
        raise HTTPException(404, "There is no such change of this record.")
    return found


async def _deletion(unit: Unit, view: RecordView, pk: str) -> AuditEntry:
    """Return the entry that says that the record was deleted, when that is the last word.

    Raises:
        HTTPException: 404 when it was not, or when nothing is known of it.
    """
    if "\x00" not in pk:
        repository = unit.repository(AuditEntryRepository)
        last = await repository.first(repository.of(view.table.fullname, pk))
        if last is not None and last.action == "delete":
            return last
    raise HTTPException(404, "There is no such deleted record.")


async def _insert_again(
    unit: UnitOfWork, view: RecordView, entry: AuditEntry, draft: Draft
) -> bool:
    """Insert a deleted record with all its values; False when the database refuses them."""
    kept = entry.old_values or {}
    record = view.mapper.class_manager.new_instance()
    for column in recorded(view.table):
        name = view.mapper.get_property_by_column(column).key
        if column.name in kept:
            setattr(record, name, _kept(column, kept[column.name]))
        elif isinstance(column.type, JSONB):
            # None would become the null of JSON.
            setattr(record, name, null())
        else:
            setattr(record, name, None)
    try:
        view.rows(unit).add(record)
        await unit.flush()
    except (InvalidData, ConstraintViolation, RejectedValue) as error:
        draft.note(error)
        return False
    return True


def _kept(column: Any, value: Any) -> Any:
    """Return a kept value; as text when the column has had another type since."""
    if value == REDACTED:
        return None
    try:
        return value_of(column, value)
    except (ValueError, ArithmeticError):
        return value


def _called(table: str) -> str:
    view = REFERENCES.get(table)
    return gettext(view.name_plural) if view else table.partition(".")[2].replace("_", " ")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Reads the history of one record for one reader."""

    unit: Unit
    view: RecordView
    request: Request

    @property
    def _pk(self) -> str:
        return str(self.request.path_params["pk"])

    async def timeline(self) -> Timeline:
        """Return the page that the query string asks for."""
        # A key that cannot be one is refused before anybody asks for its history.
        key = key_of(self.view, self.request)
        record = await self.view.rows(self.unit).find(key)
        entries = self.unit.repository(AuditEntryRepository)
        page = await entries.page(
            entries.of(self.view.table.fullname, self._pk),
            limit=_PAGE,
            after=self.request.query_params.get("after") or None,
            before=self.request.query_params.get("before") or None,
        )
        if record is None and not page.items:
            raise HTTPException(404, "There is no such record.")
        history = history_of(self.view.table)
        return Timeline(
            title=self.view.title(record)
            if record is not None
            else gettext("%(name)s (deleted)", name=gettext(self.view.name)),
            steps=await self.steps(page.items, is_there=record is not None),
            after=urlencode({"after": page.after}) if page.after else "",
            before=urlencode({"before": page.before}) if page.before else "",
            is_there=record is not None,
            restore=self._way_back(is_there=record is not None),
            why_not=history.why if history else "",
        )

    def _way_back(self, *, is_there: bool) -> str:
        may = self.view.may_delete(self.request) and is_restorable(self.view)
        path = f"{root_of(self.request)}/{self.view.identity}/restore/{quote(self._pk, safe=';:+')}"
        return path if may and not is_there else ""

    async def steps(
        self, entries: Sequence[AuditEntry], *, is_there: bool = False
    ) -> Sequence[Step]:
        """Return the steps of `entries`."""
        sides = [side for entry in entries for side in self._sides(entry)]
        whole = [{name: side.get(name) for name in self._names()} for side in sides]
        names = await names_of(self.unit, self.view, whole, self._names())
        users = await self._users(entries)
        return [self._step(entry, names, users, is_there=is_there) for entry in entries]

    def _names(self) -> list[str]:
        columns = self.view.mapper.column_attrs
        return [attribute.key for attribute in columns if attribute.key not in self.view.hidden]

    def _sides(self, entry: AuditEntry) -> Iterator[dict[str, Any]]:
        """Yield the values before and after, by attribute."""
        for kept in (entry.old_values, entry.new_values):
            yield {
                attribute.key: _shown(attribute.columns[0], kept[attribute.columns[0].name])
                for attribute in self.view.mapper.column_attrs
                if kept
                and attribute.columns[0].name in kept
                and attribute.key not in self.view.hidden
            }

    async def _users(self, entries: Sequence[AuditEntry]) -> Mapping[str, str]:
        ids = actors_who_are_users(entries)
        rows = await self.unit.session.execute(
            select(User.id, User.username).where(User.id.in_(ids))
        )
        return {str(row[0]): row[1] for row in rows} if ids else {}

    def _step(
        self, entry: AuditEntry, names: Names, users: Mapping[str, str], *, is_there: bool
    ) -> Step:
        root = root_of(self.request)
        old, new = self._sides(entry)
        changed = [name for name in self._names() if name in old or name in new]
        who = users.get(entry.actor, entry.actor)
        return Step(
            entry=entry,
            at=instant(entry.at, staff_of(self.request).user.timezone),
            did=gettext(_ACTIONS.get(entry.action, "")) or word(entry.action.replace("-", " ")),
            who=who
            if not entry.impersonator
            else gettext("%(impersonator)s as %(who)s", impersonator=entry.impersonator, who=who),
            who_link=f"{root}/users/details/{entry.actor}" if entry.actor in users else "",
            differences=[
                Difference(
                    label_of(name),
                    self.view.help_of(name),
                    self._cell(name, old.get(name), names),
                    self._cell(name, new.get(name), names),
                )
                for name in changed
            ],
            restore=self._restore(entry, old) if is_there else "",
        )

    def _cell(self, name: str, value: Any, names: Names) -> Cell:
        if (name, value) in names:
            return names.cell(name, value, root_of(self.request))
        return show(value, name, staff_of(self.request).user.timezone)

    def _restore(self, entry: AuditEntry, old: Mapping[str, Any]) -> str:
        is_edit = entry.action == "update" and bool(old.keys() & {*self.view.editable})
        if not is_edit or not self.view.may_edit(self.request):
            return ""
        path = f"{root_of(self.request)}/{self.view.identity}/edit/{quote(self._pk, safe=';:+')}"
        return f"{path}?{urlencode({'restore': str(entry.id)})}"


def _shown(column: Any, value: Any) -> Any:
    """Return a kept value for a page; what is redacted says so."""
    return REDACTED if value == REDACTED else _kept(column, value)
