"""Failed deliveries in the admin: tried again, or thrown away."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import key_of
from admin.messaging import FailedDeliveryView
from admin.office import POST, Office, for_writers
from admin.pages import root_of
from admin.records import REFERENCES
from admin.signing_in import staff_of
from domain.messaging import dead_letters


class Delivering:
    """What staff do about messages that a consumer could not handle.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/failed-deliveries/answer/{pk}", for_writers(self.answer), methods=POST),
        ]

    async def answer(self, request: Request) -> Response:
        """Let the consumer try again at once, or never."""
        consumer, number = key_of(REFERENCES["messaging.failed_deliveries"], request)
        form = await request.form(max_files=0, max_fields=5)
        actions = {"retry": dead_letters.retry, "discard": dead_letters.discard}
        chosen = actions.get(str(form.get("answer", "")))
        if chosen is None:
            raise HTTPException(400, "A message is tried again or discarded.")
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            await chosen(unit, consumer, number)
        return RedirectResponse(f"{root_of(request)}/{FailedDeliveryView.path}/list", 303)
