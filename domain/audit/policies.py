"""What is kept of the changes of a table: everything, all but inserts, or nothing.

The choice for every table stands in `domain.schema.HISTORY`; what follows from it is generated
in `domain.audit.triggers`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql import TSVECTOR

_INFO: Final = "history"

BOOKKEEPING: Final = frozenset({"version", "updated_at", "last_seen_at", "last_used_at"})
"""Columns that machines touch with every write: an update of nothing else makes no entry."""


class Kept(Enum):
    """What of a table's changes is written down."""

    ALL = "every insert, update and delete"
    CHANGES = "updates and deletes"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of a table's changes.

    Args:
        kept: Which changes.
        why: Why not all of them; empty when all are kept.
        silent: Columns whose updates make no entry besides `BOOKKEEPING`: machines write them.
        added: SQL condition on a row ``n`` whose insert is told; empty: every insert.
    """

    kept: Kept
    why: str = ""
    silent: frozenset[str] = frozenset()
    added: str = ""


def everything(*silent: str, added: str = "") -> History:
    """Return a history of every change; updates of the columns `silent` alone are left out.

    Args:
        silent: Columns that machines write.
        added: SQL condition on a row ``n`` whose insert is told; the others follow from rows
            whose history is kept.
    """
    return History(Kept.ALL, silent=frozenset(silent), added=added)


def changes(why: str, *silent: str) -> History:
    """Return a history of updates and deletes: an insert is told by the row itself."""
    return History(Kept.CHANGES, why, frozenset(silent))


def nothing(why: str) -> History:
    """Return no history, for a reason."""
    return History(Kept.NOTHING, why)


def history_of(table: Table) -> History | None:
    """Return what is kept of a table's changes, None when nobody has said."""
    found: History | None = table.info.get(_INFO)
    return found


def keep(table: Table, history: History) -> None:
    """Note in the table's ``info`` what is kept of its changes.

    Raises:
        KeyError: A silent column is none of the table's.
    """
    for name in history.silent:
        table.columns[name]
    table.info[_INFO] = history


def recorded(table: Table) -> list[Column[object]]:
    """Return the columns whose values are kept: all that the database does not compute itself."""
    return [
        column
        for column in table.columns
        if column.computed is None and not isinstance(column.type, TSVECTOR)
    ]


def telling(table: Table, history: History) -> list[Column[object]]:
    """Return the columns whose update makes an entry."""
    ignored = BOOKKEEPING | history.silent
    return [column for column in recorded(table) if column.name not in ignored]
