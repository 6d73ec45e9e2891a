"""Streams a list as a file: constant memory, the list's own filters, exact values, no formulas."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, tuple_
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Send

from admin.addressing import key_in
from admin.fields import label_of
from admin.listing import Listing, listing_of
from admin.office import GET, Office
from admin.permits import require
from admin.records import RecordView
from admin.signing_in import staff_of
from admin.spreadsheets import XlsxWriter
from admin.translating import marked
from admin.writing_out import CsvWriter, JsonWriter
from domain.audit.recording import record
from domain.clock import now
from domain.database import Database
from domain.errors import InvalidData
from domain.identity.permissions import Action

_BATCH: Final = 50
"""Rows that are read and written before other requests have their turn: some four milliseconds.

Larger batches are not faster.
"""

_MOST_KEYS: Final = 1_000


class Writer(Protocol):
    """Turns rows into the bytes of a file."""

    def start(self) -> bytes:
        """Return what stands before the first row."""
        ...

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        """Return what a batch of rows adds."""
        ...

    def end(self) -> bytes:
        """Return what stands behind the last row."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Args:
        label: What people call it.
        media_type: What browsers call it.
        about: What it is good for.
        writer: Makes its writer from the columns and the table's name.
    """

    label: str
    media_type: str
    about: str
    writer: Callable[[Sequence[str], str], Writer]


FORMATS: Final[Mapping[str, Format]] = {
    "csv": Format(
        "CSV",
        "text/csv; charset=utf-8",
        marked("For any program. Text that a spreadsheet would run begins with an apostrophe."),
        lambda names, _: CsvWriter(names),
    ),
    "xlsx": Format(
        "XLSX",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        marked(
            "For spreadsheets. Numbers of more than 15 digits are text, so that none is rounded."
        ),
        XlsxWriter,
    ),
    "json": Format(
        "JSON",
        "application/json",
        marked("One array. Amounts and times are text, so that no digit is lost."),
        lambda names, _: JsonWriter(names, is_lines=False),
    ),
    "jsonl": Format(
        marked("JSON Lines"),
        "application/jsonl; charset=utf-8",
        marked("One object a line, for programs that read as it comes."),
        lambda names, _: JsonWriter(names, is_lines=True),
    ),
}
"""Every kind of file, by the end of its name."""


@dataclass(frozen=True, slots=True)
class Export:
    """What a file holds.

    Args:
        listing: The list.
        names: The columns, in order.
        only: The condition for a selection of records; None for all of them.
    """

    listing: Listing
    names: Sequence[str]
    only: ColumnElement[bool] | None = None

    @classmethod
    def of(cls, listing: Listing) -> "Export":
        """Return what the query string asks for.

        Raises:
            InvalidData: A filter, a column or a record's key is none.
        """
        listing.validate()
        known = listing.view.visible()
        names = listing.params.getlist("field") or known
        for name in names:
            if name not in known:
                raise InvalidData("field", name, f"be a column of {listing.view.name_plural}")
        keys = listing.params.getlist("key")
        only = selection(listing.view, keys) if keys else None
        return cls(listing, list(dict.fromkeys(names)), only)


def selection(view: RecordView, keys: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition for single records, by their keys as they stand in addresses.

    Raises:
        InvalidData: A key is none, or there are too many.
    """
    if len(keys) > _MOST_KEYS:
        raise InvalidData("key", len(keys), f"name at most {_MOST_KEYS:,} records")
    read = [key_in(view, key) for key in keys]
    if None in read:
        raise InvalidData("key", keys[read.index(None)], "be a record's key")
    columns = [
        getattr(view.model, view.mapper.get_property_by_column(column).key)
        for column in view.mapper.primary_key
    ]
    if len(columns) == 1:
        found: ColumnElement[bool] = columns[0].in_(read)
        return found
    return tuple_(*columns).in_(read)


class Download(StreamingResponse):
    """A stream that lets go of its connection at once when nobody reads on."""

    async def stream_response(self, send: Send) -> None:
        """Send the parts; close what makes them, however it ends."""
        parts = self.body_iterator
        assert isinstance(parts, AsyncIterator)  # noqa: S101 - made from a generator
        async with aclosing(parts):  # type: ignore[type-var]  # generators close
            await super().stream_response(send)


class Exporting:
    """Pages that give a list away as a file.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/{identity}/export", self.choose, methods=GET),
            Route("/{identity}/export.{format}", self.export, name="export", methods=GET),
        ]

    async def choose(self, request: Request) -> Response:
        """Ask for columns and format."""
        view = self.office.view_of(request)
        require(view.identity, Action.EXPORT)
        listing = listing_of(request, view)
        listing.validate()
        relations = {relation: key for key, relation in view.relations().items()}
        shown = {relations.get(name, name) for name in listing.columns}
        columns = [(name, label_of(name), name in shown) for name in view.visible()]
        context = {"view": view, "listing": listing, "columns": columns, "formats": FORMATS}
        return self.office.pages.render(request, "export.html", context)

    async def export(self, request: Request) -> Response:
        """Stream the list, as it is filtered and ordered."""
        chosen = FORMATS.get(request.path_params["format"])
        if chosen is None:
            raise HTTPException(404, "There is no such format.")
        view = self.office.view_of(request)
        require(view.identity, Action.EXPORT)
        export = Export.of(listing_of(request, view))
        name = f"{view.identity}-{now():%Y%m%d-%H%M%S}.{request.path_params['format']}"
        return Download(
            parts_of(self.office.db, export, chosen, actor=staff_of(request).name),
            media_type=chosen.media_type,
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )


async def parts_of(
    db: Database, export: Export, chosen: Format, *, actor: str
) -> AsyncIterator[bytes]:
    """Yield the bytes of a file, a batch of rows at a time."""
    view = export.listing.view
    async with db.transaction(staff=actor) as unit:
        await record(unit, "export", table=view.table.fullname, asked=dict(export.listing.params))
    writer = chosen.writer(export.names, view.name_plural)
    yield writer.start()
    columns = [getattr(view.model, name) for name in export.names]
    async with db.snapshot(staff=actor) as unit:
        repository = view.rows(unit)
        statement = repository.query(*export.listing.conditions())
        if export.only is not None:
            statement = statement.where(export.only)
        ordered = statement.order_by(*export.listing.ordering()).with_only_columns(*columns)
        async with aclosing(repository.rows(ordered, size=_BATCH)) as batches:
            async for batch in batches:
                yield writer.rows(batch)
    yield writer.end()
