"""The review of the journal: what works, by setup and tag, and how R-multiples are spread."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from admin.charts import Bars, histogram
from admin.days import day_of
from admin.fields import ReferenceField
from admin.looking_up import labels_of
from admin.office import GET, Office
from admin.rendering import number
from admin.signing_in import staff_of
from admin.translating import gettext
from domain.database import Reader
from domain.journal.models import JournalEntry
from domain.journal.statistics import (
    Bucket,
    performance,
    performance_by_setup,
    performance_by_tag,
    r_distribution,
)

_USER = ReferenceField("user_id", "User", target="users")


class Review:
    """The page.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [Route("/review", self.show, methods=GET)]

    async def show(self, request: Request) -> Response:
        """Show how the trades of the journal went, between two days and of one user if chosen.

        Raises:
            InvalidData: A day or a user is none.
        """
        params = request.query_params
        where = _conditions(params)
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            context = dict(await _read(unit, where))
            context["picked"] = await labels_of(unit, [_USER], dict(params))
        context |= {"params": params, "is_narrowed": bool(where)}
        return self.office.pages.render(request, "review.html", context)


async def _read(unit: Reader, where: list[ColumnElement[bool]]) -> Mapping[str, Any]:
    return {
        "totals": await performance(unit, *where),
        "groups": (
            (gettext("By setup"), gettext("Setup"), await performance_by_setup(unit, *where)),
            (gettext("By tag"), gettext("Tag"), await performance_by_tag(unit, *where)),
        ),
        "spread": _spread(await r_distribution(unit, *where)),
    }


def _spread(buckets: Any) -> Bars | None:
    return histogram([(item.start, item.trades, _meaning(item)) for item in buckets])


def _meaning(bucket: Bucket) -> str:
    low, high = number(bucket.start).text, number(bucket.end).text
    return gettext("%(low)s R to %(high)s R: %(trades)s", low=low, high=high, trades=bucket.trades)


def _conditions(params: QueryParams) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if user := params.get("user_id"):
        found.append(JournalEntry.user_id == _user(user))
    if start := params.get("from"):
        found.append(JournalEntry.entry_on >= day_of("from", start))
    if end := params.get("to"):
        found.append(JournalEntry.entry_on <= day_of("to", end))
    return found


def _user(text: str) -> UUID:
    return _USER.read(text)
