"""Files into tables: send one, say what its columns are, see what would happen, let it happen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.fields import Field, label_of
from admin.office import BOTH, POST, Office, for_writers
from admin.pages import root_of
from admin.reading_in import (
    MODES,
    Mode,
    Plan,
    Report,
    Row,
    attributes_of,
    guessed_mapping,
    keys_of,
    read_in,
    read_rows,
)
from admin.records import RecordView
from admin.signing_in import staff_of
from admin.tabular import Tabular, read_file
from admin.taking_back import take_back
from admin.translating import gettext
from admin.uploads import Upload, Uploads
from admin.writing_out import CsvWriter
from domain.database import Worker
from domain.errors import InvalidData
from domain.identity.models import RowOutcome, TableImport

_PREVIEWED: Final = 10
_SHOWN: Final = 300
"""Faults that a page lists; the file with the report has all of them."""


@dataclass(frozen=True, slots=True)
class Wizard:
    """Where an import stands: the file, and what its form says.

    Args:
        view: The table.
        upload: The file.
        table: Its rows.
        plan: How they become records.
        is_strict: Whether one refused row keeps all others out.
        is_again: Whether a file that was imported before is wanted again.
    """

    view: RecordView
    upload: Upload
    table: Tabular
    plan: Plan
    is_strict: bool = True
    is_again: bool = False

    @classmethod
    async def begun(cls, view: RecordView, upload: Upload) -> "Wizard":
        """Return the wizard of a file that just came, its columns guessed by their names."""
        table = await run_in_threadpool(read_file, upload.filename, upload.content)
        mapping = guessed_mapping(view, table.headings)
        keys = keys_of(view, mapping)
        return cls(view, upload, table, Plan(view, mapping, keys[0] if keys else ()))

    @classmethod
    async def of(cls, view: RecordView, upload: Upload, form: FormData) -> "Wizard":
        """Return the wizard that a form stands for.

        Raises:
            InvalidData: A column, a key or a mode is none.
        """
        table = await run_in_threadpool(read_file, upload.filename, upload.content)
        mapping = {
            name: str(form[f"map-{name}"])
            for name in attributes_of(view)
            if form.get(f"map-{name}")
        }
        for heading in mapping.values():
            if heading not in table.headings:
                raise InvalidData("mapping", heading, "be a column of the file")
        key = tuple(str(form.get("key", "")).split(",")) if form.get("key") else ()
        if key and key not in keys_of(view, mapping):
            raise InvalidData("key", ", ".join(key), "be a unique key whose columns the file has")
        mode = str(form.get("mode", "both"))
        if mode not in MODES:
            raise InvalidData("mode", mode, f"be one of {', '.join(MODES)}")
        plan = Plan(view, mapping, key, cast("Mode", mode))
        is_strict = form.get("refused", "stop") == "stop"
        return cls(view, upload, table, plan, is_strict, bool(form.get("again")))


class Importing:
    """Pages that take files into tables.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office
        self.uploads = Uploads()

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/table-imports/{pk}/revert", for_writers(self.revert), methods=POST),
            Route("/{identity}/upload", for_writers(self.send), methods=BOTH),
            Route("/{identity}/upload/step", for_writers(self.step), methods=POST),
        ]

    def _view_of(self, request: Request) -> RecordView:
        view = self.office.view_of(request)
        if not view.may_create(request):
            raise HTTPException(
                405, gettext("%(names)s are not made here.", names=gettext(view.name_plural))
            )
        return view

    async def send(self, request: Request) -> Response:
        """Show the form, or the columns of the file that came back."""
        view, error = self._view_of(request), ""
        if request.method == "POST":
            async with request.form(max_files=1, max_fields=5) as form:
                try:
                    upload = await self.uploads.receive(staff_of(request).user.id, form)
                    return await self._show(request, await Wizard.begun(view, upload))
                except InvalidData as invalid:
                    error = f"{invalid}."
        context = {"view": view, "error": error, "attributes": view.fields(attributes_of(view))}
        status = 422 if error else 200
        return self.office.pages.render(request, "upload.html", context, status=status)

    async def step(self, request: Request) -> Response:
        """Look at the rows again, try all of them, take them in, or give the report away."""
        view = self._view_of(request)
        form = await request.form(max_files=0, max_fields=500)
        owner = staff_of(request).user.id
        upload = await self.uploads.take(owner, str(form.get("token", "")))
        try:
            wizard = await Wizard.of(view, upload, form)
        except InvalidData as invalid:
            begun = await Wizard.begun(view, upload)
            return await self._show(request, begun, error=f"{invalid}.")
        if form.get("do") == "apply":
            return await self._apply(request, wizard)
        if form.get("do") == "look":
            return await self._show(request, wizard)
        report = await self._tried(request, wizard)
        if form.get("do") == "report":
            return _report_file(wizard, report)
        return await self._show(request, wizard, report)

    async def _tried(self, request: Request, wizard: Wizard) -> Report:
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            report = await read_in(unit, wizard.plan, wizard.table)
            await unit.session.rollback()
        return report

    async def _apply(self, request: Request, wizard: Wizard) -> Response:
        staff, owner = staff_of(request).name, staff_of(request).user.id
        async with self.office.db.transaction(staff=staff) as unit:
            if not wizard.is_again and await self._earlier(unit, wizard) is not None:
                error = gettext(
                    "This file was imported here before. Tick “import it again” to do so."
                )
                return await self._show(request, wizard, error=error)
            report = await read_in(unit, wizard.plan, wizard.table)
            imported = None
            if report.faults and wizard.is_strict:
                await unit.session.rollback()
            else:
                imported = await _keep(unit, wizard, report, owner=owner)
        if imported is None:
            return await self._show(request, wizard, report)
        await self.uploads.drop(owner, wizard.upload.token)
        return RedirectResponse(f"{root_of(request)}/table-imports/details/{imported.id}", 303)

    async def _earlier(self, unit: Worker, wizard: Wizard) -> TableImport | None:
        return await unit.table_imports.earlier(wizard.view.identity, wizard.upload.sha256)

    async def revert(self, request: Request) -> Response:
        """Take an import back, or say why that cannot be."""
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            imported = await unit.table_imports.get(uuid_of(request))
            view = self.office.views[imported.view]
            if not view.may_create(request):
                raise HTTPException(
                    403,
                    gettext(
                        "%(names)s are not changed by your role.", names=gettext(view.name_plural)
                    ),
                )
            title = imported.filename
            reasons = await take_back(unit, imported, view)
            if reasons:
                await unit.session.rollback()
        back = f"{root_of(request)}/table-imports/details/{uuid_of(request)}"
        if not reasons:
            return RedirectResponse(back, 303)
        context = {"reasons": reasons, "back": back, "title": title}
        return self.office.pages.render(request, "not_reverted.html", context, status=409)

    async def _show(
        self, request: Request, wizard: Wizard, report: Report | None = None, *, error: str = ""
    ) -> Response:
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            sample = await read_rows(unit, wizard.plan, wizard.table.lines[:_PREVIEWED])
            earlier = await self._earlier(unit, wizard)
        view = wizard.view
        context = {
            "view": view,
            "wizard": wizard,
            "attributes": view.fields(attributes_of(view)),
            "mapped": wizard.plan.fields(),
            "sample": sample,
            "shown": _shown(wizard.plan.fields(), sample),
            "keys": [(",".join(key), _words(key)) for key in keys_of(view, wizard.plan.mapping)],
            "key": ",".join(wizard.plan.key),
            "modes": MODES,
            "report": report,
            "outcomes": RowOutcome,
            "faults": report.faults[:_SHOWN] if report else [],
            "label_of": label_of,
            "earlier": earlier,
            "error": error,
        }
        status = 422 if error or (report and report.faults) else 200
        return self.office.pages.render(request, "import.html", context, status=status)


def _shown(fields: Sequence[Field], rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """Return (text, what is wrong) of each cell, as it would be stored."""
    return [
        [
            (
                item.write(row.values[item.name])
                if item.name in row.values
                else next((fault.value for fault in row.faults if fault.column == item.name), ""),
                row.fault_of(item.name),
            )
            for item in fields
        ]
        for row in rows
    ]


def _words(key: Sequence[str]) -> str:
    return " and ".join(label_of(name).lower() for name in key)


def _report_file(wizard: Wizard, report: Report) -> Response:
    writer = CsvWriter(("line", "column", "value", "rule"))
    rows = [(item.line, item.column, item.value, item.rule) for item in report.faults]
    name = f"{wizard.view.identity}-refused-rows.csv"
    return Response(
        writer.start() + writer.rows(rows),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _storable(text: str) -> str:
    """Return a refused value as PostgreSQL can keep it: without NUL."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


async def _keep(unit: Worker, wizard: Wizard, report: Report, *, owner: Any) -> TableImport:
    """Write down what became of the file."""
    plan = wizard.plan
    mapping: dict[str, Any] = {"columns": dict(plan.mapping), "key": list(plan.key)}
    imported = unit.table_imports.add(
        TableImport(
            user_id=owner,
            view=wizard.view.identity,
            filename=wizard.upload.filename,
            sha256=wizard.upload.sha256,
            mapping=mapping | {"mode": plan.mode, "stops_at_refused": wizard.is_strict},
            rows_total=len(report.done),
            rows_inserted=report.count(RowOutcome.INSERTED),
            rows_updated=report.count(RowOutcome.UPDATED),
            rows_unchanged=report.count(RowOutcome.UNCHANGED),
            rows_rejected=report.count(RowOutcome.REJECTED),
        )
    )
    await unit.flush()
    rows = [
        {
            "user_id": owner,
            "import_id": imported.id,
            "line": item.line,
            "outcome": item.outcome,
            "record_key": item.record_key,
            "before": item.before,
            "after": item.after,
            "faults": {
                fault.column or "row": {"value": _storable(fault.value), "rule": fault.rule}
                for fault in item.faults
            }
            or None,
        }
        for item in report.done
    ]
    if rows:
        await unit.table_import_rows.insert_many(rows)
    return imported
