"""How often each word of a closed vocabulary occurs in a list, counted up to a limit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, text

from admin.fields import Field
from admin.listing import Listing
from admin.translating import gettext
from domain.db.unit import Unit

FACETED: Final = 10_000
"""Records that are looked at for one filter: what lies behind them is not counted."""

_TIMEOUT_MS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Facet:
    """The words of one filter.

    Args:
        counts: How often each word occurs among the records that the other filters leave.
        is_capped: Whether there are more records than were looked at: counts are at least so.
    """

    counts: Mapping[str, int]
    is_capped: bool

    def of(self, word: str) -> str:
        """Return how often a word occurs, as people read it."""
        count = self.counts.get(word, 0)
        shown = f"{count:,}"
        return gettext("at least %(count)s", count=shown) if self.is_capped and count else shown


async def facets_of(unit: Unit, listing: Listing) -> dict[str, Facet]:
    """Return the facet of each filter of the list's view.

    Raises:
        InvalidData: A filter's value is wrong.
        QueryTimeout: No index serves this combination.
    """
    await unit.session.execute(text(f"SET LOCAL statement_timeout = {_TIMEOUT_MS}"))
    return {item.name: await _facet(unit, listing, item) for item in _fields(listing)}


def _fields(listing: Listing) -> list[Field]:
    return listing.view.fields(listing.view.filters)


async def _facet(unit: Unit, listing: Listing, field: Field) -> Facet:
    column = getattr(listing.view.model, field.name)
    matching = listing.view.rows(unit).query(*listing.conditions(without=field.name))
    first = matching.with_only_columns(column.label("word")).limit(FACETED + 1).subquery()
    counted = select(first.c.word, func.count()).group_by(first.c.word)
    rows = await unit.session.execute(counted)
    found = {field.write(word): count for word, count in rows}
    return Facet(found, is_capped=sum(found.values()) > FACETED)
