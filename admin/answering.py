"""Alerts in the admin: rules watched, paused, cancelled; events acknowledged, resolved."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.office import POST, Office, for_writers
from admin.pages import root_of
from admin.signing_in import staff_of
from domain.alerts import events, rules


class Answering:
    """What staff do about alerts.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/alerts/{pk}/status", for_writers(self.status), methods=POST),
            Route("/alert-events/{pk}/answer", for_writers(self.answer), methods=POST),
        ]

    async def status(self, request: Request) -> Response:
        """Watch a rule again, pause it or cancel it."""
        actions = {"resume": rules.resume, "pause": rules.pause, "cancel": rules.cancel}
        chosen = actions.get(await _word(request, "to"))
        if chosen is None:
            raise HTTPException(400, "A rule is resumed, paused or cancelled.")
        alert_id = uuid_of(request)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            await chosen(unit, alert_id)
        return RedirectResponse(f"{root_of(request)}/alerts/details/{alert_id}", 303)

    async def answer(self, request: Request) -> Response:
        """Acknowledge an event in the name of this member of staff, or resolve it."""
        word, event_id = await _word(request, "answer"), uuid_of(request)
        if word not in {"acknowledge", "resolve"}:
            raise HTTPException(400, "An event is acknowledged or resolved.")
        staff = staff_of(request)
        async with self.office.db.transaction(staff=staff.name) as unit:
            if word == "acknowledge":
                await events.acknowledge(unit, event_id, by=staff.user.id)
            else:
                await events.resolve(unit, event_id)
        return RedirectResponse(f"{root_of(request)}/alert-events/details/{event_id}", 303)


async def _word(request: Request, name: str) -> str:
    form = await request.form(max_files=0, max_fields=5)
    return str(form.get(name, ""))
