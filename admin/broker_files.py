"""Broker files in the browser: send one, see what it would book, book it."""

from typing import Any, Final
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.fields import ChoiceField, ReferenceField
from admin.looking_up import labels_of
from admin.office import BOTH, POST, Office, for_writers
from admin.pages import root_of
from admin.signing_in import staff_of
from admin.translating import marked
from admin.uploads import Upload, Uploads
from admin.writing import Draft, sentence
from domain.errors import InvalidData, NotFound
from domain.trading.importing.booking import BrokerFile, ImportReport, import_file
from domain.trading.importing.formats import FORMATS

_BROKERS: Final = (
    ("tastytrade", marked("tastytrade: transaction history (CSV)", "word")),
    ("ibkr-flex", marked("Interactive Brokers: Flex query (XML)", "word")),
    ("csv", marked("Any broker: CSV with the documented heading", "word")),
)
_FIELDS: Final = (
    ReferenceField("portfolio_id", "Portfolio", "", is_required=True, target="portfolios"),
    ChoiceField("broker", "Broker", "", is_required=True, choices=_BROKERS),
)
_SHOWN: Final = 500
"""Refused rows that a page lists."""


class BrokerFiles:
    """Pages that take in brokers' files.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office
        self.uploads = Uploads()

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/imports/new", for_writers(self.send), methods=BOTH),
            Route("/imports/book", for_writers(self.book), methods=POST),
        ]

    async def send(self, request: Request) -> Response:
        """Show the form, or what the file that came back would book."""
        if request.method != "POST":
            draft = Draft.empty(_FIELDS, {})
            draft.texts["portfolio_id"] = request.query_params.get("portfolio_id", "")
            return await self._form(request, draft)
        async with request.form(max_files=1, max_fields=10) as form:
            draft = Draft.submitted(_FIELDS, form)
            values = draft.values(draft.texts)
            try:
                upload = await self.uploads.receive(staff_of(request).user.id, form)
                if draft.errors:
                    return await self._form(request, draft)
                report = await self._run(request, values, upload, is_preview=True)
            except (InvalidData, NotFound) as error:
                text = sentence(error) if isinstance(error, InvalidData) else f"{error}."
                draft.errors[""] = text[:1].upper() + text[1:]
                return await self._form(request, draft)
        return await self._preview(request, draft, upload, report)

    async def _run(
        self, request: Request, values: dict[str, Any], upload: Upload, *, is_preview: bool
    ) -> ImportReport:
        file = BrokerFile(values["broker"], upload.content, upload.filename)
        await run_in_threadpool(file.parse)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            portfolio = await unit.portfolios.get(values["portfolio_id"])
            return await import_file(unit, portfolio, file, is_preview=is_preview)

    async def book(self, request: Request) -> Response:
        """Book a file that was looked at; the import's page can take it back."""
        form = await request.form(max_files=0, max_fields=10)
        draft = Draft.submitted(_FIELDS, form)
        values = draft.values(draft.texts)
        if draft.errors:
            return await self._form(request, draft)
        owner = staff_of(request).user.id
        upload = await self.uploads.take(owner, str(form.get("token", "")))
        report = await self._run(request, values, upload, is_preview=False)
        await self.uploads.drop(owner, upload.token)
        return self._to(request, report.batch_id)

    def _to(self, request: Request, batch_id: UUID | None) -> Response:
        return RedirectResponse(f"{root_of(request)}/imports/details/{batch_id}", 303)

    async def _form(self, request: Request, draft: Draft) -> Response:
        await self._name(request, draft)
        status = 422 if draft.errors else 200
        context = {"draft": draft, "formats": list(FORMATS)}
        return self.office.pages.render(request, "broker_file.html", context, status=status)

    async def _preview(
        self, request: Request, draft: Draft, upload: Upload, report: ImportReport
    ) -> Response:
        await self._name(request, draft)
        context = {"draft": draft, "upload": upload, "report": report, "most": _SHOWN}
        context["broker"] = dict(_BROKERS)[draft.texts["broker"]]
        return self.office.pages.render(request, "broker_preview.html", context)

    async def _name(self, request: Request, draft: Draft) -> None:
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            draft.labels = await labels_of(unit, _FIELDS, draft.texts)
