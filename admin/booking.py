"""Facts in the admin: book a trade, correct it, bust it, take back an import."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.fields import ChoiceField, DecimalField, Field, InstantField, ReferenceField, TextField
from admin.looking_up import labels_of
from admin.office import BOTH, POST, Office, for_writers
from admin.pages import root_of
from admin.permits import permits
from admin.signing_in import staff_of
from admin.translating import gettext
from admin.writing import Draft
from domain.errors import (
    ConflictingTrade,
    ConstraintViolation,
    InvalidData,
    NotFound,
    RejectedValue,
)
from domain.identity.models import Effect
from domain.trading.correcting import bust_trade, correct_trade, revert_import
from domain.trading.recording import record_trade
from domain.trading.terms import Side

_TRADES: Final = "trades"
_SIDES: Final = tuple((str(side), str(side)) for side in Side)

_ECONOMICS: Final[tuple[Field, ...]] = (
    ChoiceField("side", "Side", "Direction of the trade", is_required=True, choices=_SIDES),
    DecimalField("quantity", "Quantity", "Units or contracts, positive", is_required=True),
    DecimalField("price", "Price", "Quote currency a unit", is_required=True),
    InstantField("executed_at", "Executed at", "With its offset from UTC", is_required=True),
    DecimalField("commission", "Commission", "Positive is a cost"),
    DecimalField("fees", "Fees", "Exchange and regulatory fees"),
    TextField("description", "Note", "Why, for whoever reads the history"),
)
_COSTS: Final = frozenset({"commission", "fees"})
_PLACES: Final[tuple[Field, ...]] = (
    ReferenceField("portfolio_id", "Portfolio", "", is_required=True, target="portfolios"),
    ReferenceField("instrument_id", "Instrument", "", is_required=True, target="instruments"),
)
_IDENTITY: Final[tuple[Field, ...]] = (
    TextField("external_id", "Broker's id", "Sending the same id again books nothing"),
)


class Booking:
    """Pages that change facts, each through the ledger.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/trades/new", for_writers(self.record), methods=BOTH),
            Route("/trades/{pk}/correct", for_writers(self.correct), methods=BOTH),
            Route("/trades/{pk}/bust", for_writers(self.bust), methods=POST),
            Route("/imports/{pk}/revert", for_writers(self.revert), methods=POST),
        ]

    async def record(self, request: Request) -> Response:
        """Show the form of a new trade, or book it."""
        fields = (*_PLACES, *_ECONOMICS, *_IDENTITY)
        _require_all(fields)
        if request.method != "POST":
            draft = Draft.empty(fields, {})
            draft.texts["portfolio_id"] = request.query_params.get("portfolio_id", "")
            return await self._new(request, draft)
        draft = Draft.submitted(fields, await request.form(max_files=0, max_fields=60))
        values = draft.values(draft.texts)
        if not draft.errors:
            trade_id = await self._try(draft, lambda: self._record(request, values))
            if trade_id is not None:
                return self._to(request, trade_id)
        return await self._new(request, draft)

    async def _record(self, request: Request, values: Mapping[str, Any]) -> UUID:
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            portfolio = await unit.portfolios.get(values["portfolio_id"])
            instrument = await unit.instruments.get(values["instrument_id"])
            details = {name: value for name, value in _details(values).items() if value is not None}
            booked = await record_trade(unit, portfolio, instrument, source="admin", **details)
            return booked.trade.id

    async def correct(self, request: Request) -> Response:
        """Show a trade as a form, or book its correction."""
        _require_all(_ECONOMICS)
        trade_id = uuid_of(request)
        if request.method != "POST":
            async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
                trade = await unit.trades.get(trade_id)
            return self._correction(request, trade_id, Draft.of(_ECONOMICS, trade))
        draft = Draft.submitted(_ECONOMICS, await request.form(max_files=0, max_fields=60))
        changed = draft.changed()
        values = draft.values(changed)
        if not changed:
            draft.errors[""] = gettext("Nothing differs from what is booked.")
        if not draft.errors:
            new_id = await self._try(draft, lambda: self._correct(request, trade_id, values))
            if new_id is not None:
                return self._to(request, new_id)
        return self._correction(request, trade_id, draft)

    async def _correct(self, request: Request, trade_id: UUID, values: Mapping[str, Any]) -> UUID:
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            booked = await correct_trade(unit, trade_id, **_details(values))
            return booked.trade.id

    async def bust(self, request: Request) -> Response:
        """Record that a trade never was."""
        form = await request.form(max_files=0, max_fields=10)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            await bust_trade(unit, uuid_of(request), reason=str(form.get("reason", "")).strip())
        return self._to(request, uuid_of(request))

    async def revert(self, request: Request) -> Response:
        """Take back everything that one import booked."""
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            await revert_import(unit, uuid_of(request))
        return RedirectResponse(f"{root_of(request)}/imports/details/{uuid_of(request)}", 303)

    async def _try(self, draft: Draft, work: Callable[[], Awaitable[UUID]]) -> UUID | None:
        try:
            booked = await work()
        except (InvalidData, ConstraintViolation, RejectedValue) as error:
            draft.note(error)
        except (ConflictingTrade, NotFound) as error:
            text = str(error)
            draft.errors[""] = f"{text[:1].upper()}{text[1:]}."
        else:
            return booked
        return None

    async def _new(self, request: Request, draft: Draft) -> Response:
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            draft.labels = await labels_of(unit, draft.fields, draft.texts)
        return self._form(request, draft, gettext("New trade"), "trades/list")

    def _correction(self, request: Request, trade_id: UUID, draft: Draft) -> Response:
        return self._form(request, draft, gettext("Correct trade"), f"trades/details/{trade_id}")

    def _form(self, request: Request, draft: Draft, title: str, back: str) -> Response:
        context = {"draft": draft, "title": title, "back": f"{root_of(request)}/{back}"}
        context["is_correction"] = back != "trades/list"
        status = 422 if draft.errors else 200
        return self.office.pages.render(request, "booking.html", context, status=status)

    def _to(self, request: Request, trade_id: UUID) -> Response:
        return RedirectResponse(f"{root_of(request)}/trades/details/{trade_id}", 303)


def _require_all(fields: Sequence[Field]) -> None:
    """Go on only when whoever asks may write every one of these fields of a trade.

    A trade is booked with all of them or not at all.
    """
    found = permits()
    kept = {field.name for field in fields} & (
        found.fields(_TRADES, Effect.HIDDEN) | found.fields(_TRADES, Effect.READONLY)
        if found
        else set()
    )
    if kept:
        raise HTTPException(403, "A trade has fields that your role may not write.")


def _details(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the ledger wants to know; costs that were emptied are zero."""
    places = {item.name for item in _PLACES}
    details = {name: value for name, value in values.items() if name not in places}
    for name in _COSTS & details.keys():
        details[name] = details[name] or Decimal(0)
    if "side" in details:
        details["side"] = Side(details["side"])
    return details
