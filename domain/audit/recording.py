"""Records what is no change of a row: a login, an export, a refusal.

What a unit does with rows is recorded by the database itself; nobody calls anything for it.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from domain.db.unit import UnitOfWork
from domain.errors import InvalidData

_BY_TRIGGER: Final = frozenset({"insert", "update", "delete", "truncate"})
_NOTE: Final = text("SELECT audit.note(:action, :table, :key, :user_id, :details)").bindparams(
    bindparam("action", type_=Text()),
    bindparam("table", type_=Text()),
    bindparam("key", type_=Text()),
    bindparam("user_id", type_=Uuid()),
    bindparam("details", type_=JSONB(none_as_null=True)),
)


async def record(
    unit: UnitOfWork,
    action: str,
    *,
    table: str | None = None,
    key: object = None,
    user_id: UUID | None = None,
    **details: Any,
) -> None:
    """Write an event into the history, in the unit's transaction.

    Args:
        unit: Who acts; a tenant's unit writes into the tenant's own history.
        action: A lower-case word: ``login``, ``export``, ``permission-denied``.
        table: The table it is about, ``schema.table``.
        key: The primary key of the row it is about.
        user_id: The tenant it is about; only that tenant and staff see it.
        details: What else is known, as JSON holds it; nothing secret.

    Raises:
        InvalidData: `action` is one that triggers write, or `key` has no table.
        CheckFailed: `action` is no lower-case word.

    Example:
        await record(unit, "export", table="trading.trades", rows=1_204)
    """
    if action in _BY_TRIGGER:
        raise InvalidData("action", action, "be an event: changes of rows are written by triggers")
    if key is not None and table is None:
        raise InvalidData("key", key, "come with its table")
    await unit.session.execute(
        _NOTE,
        {
            "action": action,
            "table": table,
            "key": None if key is None else str(key),
            "user_id": user_id,
            "details": details or None,
        },
    )
