"""Finds records by the beginning of their name, for reference fields."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import text

from admin.addressing import identifier
from admin.fields import Field
from admin.records import RecordView, view_named
from domain.db.unit import Unit
from domain.errors import InvalidData

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
    found = await view.rows(unit).all(statement.order_by(view.search[0]).limit(_MOST))
    return [{"id": identifier(view, record), "text": view.option(record)} for record in found]


async def labels_of(unit: Unit, fields: Sequence[Field], texts: dict[str, str]) -> dict[str, str]:
    """Return what the records are called that reference fields hold, by field."""
    labels = {}
    for item in fields:
        if item.target and texts.get(item.name):
            try:
                key = item.read(texts[item.name])
            except InvalidData:
                continue
            view = view_named(item.target)
            record = await view.rows(unit).find(key) if view else None
            if view is not None and record is not None:
                labels[item.name] = view.title(record)
    return labels
