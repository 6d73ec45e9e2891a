"""Files of journal entries in the browser: sent in, looked at, taken away.

A file is never shown as a page of this site: it comes as a download, in a sandbox.
"""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote
from uuid import UUID

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.office import GET, POST, Office, for_writers
from admin.pages import root_of
from admin.signing_in import staff_of
from domain.errors import InvalidData
from domain.journal.attaching import NewFile, attach, detach, read_attachment
from domain.storage import Storage

_PIECE: Final = 64_000
_PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""What browsers draw and never run; SVG is not among them."""

_SANDBOX: Final = "default-src 'none'; sandbox"


class Attaching:
    """The addresses.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office
        self.storage = Storage(settings=office.db.settings)

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/attachments/upload", for_writers(self.send_in), methods=POST),
            Route("/attachments/{pk}/file", self.file, methods=GET),
            Route("/attachments/{pk}/remove", for_writers(self.remove), methods=POST),
        ]

    async def send_in(self, request: Request) -> Response:
        """Attach the file of the form to the entry that the form names.

        Raises:
            InvalidData: No file or no entry was sent, or the file is too large.
        """
        async with request.form(max_files=1, max_fields=10) as form:
            entry_id = _entry(str(form.get("entry", "")))
            caption = str(form.get("caption", "")).strip() or None
            file = form.get("file")
            if not isinstance(file, UploadFile) or not file.filename:
                raise InvalidData("file", "", "be chosen")
            new = NewFile(file.filename, _pieces(file), caption)
            await self._attach(staff_of(request).name, entry_id, new)
        return self._back(request, entry_id, "attached")

    async def _attach(self, actor: str, entry_id: UUID, file: NewFile) -> None:
        async with (
            self.storage.staged() as staged,
            self.office.db.transaction(staff=actor) as unit,
        ):
            await attach(unit, staged, await unit.journal_entries.get(entry_id), file)

    async def file(self, request: Request) -> Response:
        """Return the bytes as a download; pictures may stand in our pages.

        Raises:
            NotFound: There is no such attachment, or its object is gone.
        """
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            attachment = await unit.attachments.get(uuid_of(request))
        content = await read_attachment(self.storage, attachment)
        kind = attachment.content_type
        return Response(
            content,
            media_type=kind if kind in _PICTURES else "application/octet-stream",
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{quote(attachment.filename)}",
                "content-security-policy": _SANDBOX,
                "cache-control": "private, max-age=3600",
            },
        )

    async def remove(self, request: Request) -> Response:
        """Take a file away from its entry."""
        async with (
            self.storage.staged() as staged,
            self.office.db.transaction(staff=staff_of(request).name) as unit,
        ):
            attachment = await unit.attachments.get(uuid_of(request))
            entry_id = attachment.entry_id
            await detach(unit, staged, attachment)
        return self._back(request, entry_id, "removed")

    def _back(self, request: Request, entry_id: UUID, word: str) -> Response:
        path = f"{root_of(request)}/journal-entries/details/{entry_id}"
        return RedirectResponse(f"{path}?done={word}", 303)


def is_picture(content_type: str) -> bool:
    """Return whether a file of this type is drawn in a page."""
    return content_type in _PICTURES


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE):
        yield piece


def _entry(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidData("entry", text, "be a journal entry's id") from None
