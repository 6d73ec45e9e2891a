"""Finds records by the beginning of their name, for reference fields."""

from typing import Any, Final

from sqlalchemy import text

from admin.addressing import identifier
from admin.records import RecordView
from domain.db.unit import Unit

_MOST: Final = 20
_LONGEST: Final = 100


async def look_up(unit: Unit, view: RecordView, term: str) -> list[dict[str, Any]]:
    """Return up to twenty records as ``{id, text}``; none for a term nothing can begin with."""
    wanted = term.strip()
    if not view.search or "\x00" in wanted or len(wanted) > _LONGEST:
        return []
    await unit.session.execute(text("SET LOCAL statement_timeout = 1000"))
    statement = view.base(unit)
    if wanted:
        statement = statement.where(view.search_condition(wanted))
    found = await unit[view.model].all(statement.order_by(view.search[0]).limit(_MOST))
    return [{"id": identifier(view, record), "text": view.title(record)} for record in found]
