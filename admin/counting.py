"""How many records a list has: estimated at any size, exact where that is cheap or asked for."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, text

from admin.listing import Listing
from admin.ordering import SMALL, is_served, words_of
from admin.translating import gettext
from domain.db.estimating import Estimate, estimate
from domain.db.repository import AnySelect
from domain.db.unit import Unit
from domain.errors import InvalidData
from domain.identity.models import User

COUNTED: Final = 10_000
"""Records up to which a count is exact where the planner expects it to be cheap."""

_CHEAP: Final = 25_000.0
"""What an exact count may cost, in the planner's units: some 100 ms."""


async def measured(unit: Unit, listing: Listing, stored: int | None) -> Estimate:
    """Return about how many records a list has, and what counting them costs.

    Args:
        unit: Any unit.
        listing: The list.
        stored: About how many records the table has; None while nobody knows.
    """
    if _is_limited(unit, listing):
        # The planner's numbers are of all tenants: limited staff are told what is counted alone.
        return Estimate(await _count_up_to(unit, listing, COUNTED + 1), 0)
    if not listing.is_filtered and stored is not None and stored > COUNTED:
        # Planning a question about hundreds of partitions costs more than reading the statistics.
        return Estimate(stored, float("inf"))
    return await estimate(unit.session, _keys_only(unit, listing))


def _keys_only(unit: Unit, listing: Listing) -> AnySelect:
    """Return the list's statement without relations and order, for counting."""
    statement = listing.view.rows(unit).query(*listing.conditions())
    return statement.with_only_columns(*listing.view.mapper.primary_key)


def require_order(listing: Listing, expected: int) -> None:
    """Refuse an order that would sort more records than a server should.

    Raises:
        InvalidData: No index serves it and the list is long.
    """
    keys = listing.sort_keys
    if expected > SMALL and not is_served(listing.view, keys, listing.fixed()):
        rule = f"be served by an index, or sort at most {SMALL:,} records: narrow the list first"
        raise InvalidData("sort", words_of(keys), rule)


def _is_limited(unit: Unit, listing: Listing) -> bool:
    """Return whether the database shows this unit some of the table's rows only."""
    view = listing.view
    return unit.scope.reach is not None and ("user_id" in view.table.columns or view.model is User)


async def _count_up_to(unit: Unit, listing: Listing, most: int) -> int:
    capped = _keys_only(unit, listing).limit(most).subquery()
    return (await unit.session.execute(select(func.count()).select_from(capped))).scalar_one()


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a list has.

    Args:
        rows: The number.
        is_exact: Whether it is counted, not estimated.
        is_least: Whether counting stopped there.
    """

    rows: int
    is_exact: bool
    is_least: bool = False

    def __str__(self) -> str:
        if self.is_least:
            return gettext("at least %(count)s", count=f"{self.rows:,}")
        return (
            f"{self.rows:,}"
            if self.is_exact
            else gettext("about %(count)s", count=f"{self.rows:,}")
        )


async def count_roughly(unit: Unit, listing: Listing, expected: Estimate) -> Count:
    """Return the number of records: counted when that is cheap, else estimated."""
    if _is_limited(unit, listing):
        is_all = expected.rows <= COUNTED
        return Count(expected.rows, is_exact=is_all, is_least=not is_all)
    if expected.rows <= COUNTED and expected.cost <= _CHEAP:
        rows = await _count_up_to(unit, listing, COUNTED + 1)
        if rows <= COUNTED:
            return Count(rows, is_exact=True)
    return Count(expected.rows, is_exact=False)


async def count_exactly(unit: Unit, listing: Listing, *, timeout_ms: int = 15_000) -> int:
    """Return how many records a list has; reads them all.

    Args:
        unit: Any unit.
        listing: What is counted.
        timeout_ms: How long it may take [ms].

    Raises:
        InvalidData: A filter's value is wrong.
        QueryTimeout: It takes longer.
    """
    await unit.session.execute(text(f"SET LOCAL statement_timeout = {timeout_ms:d}"))
    return await listing.view.rows(unit).count(_keys_only(unit, listing))
