"""The views of the audit log: changes and the seals over them. Nobody writes here."""

from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement

from admin.records import REFERENCES, RecordView
from admin.translating import gettext, word
from domain.audit.models import AuditEntry, Seal


class AuditEntryView(RecordView, model=AuditEntry):
    """Changes of all tables."""

    name, name_plural, path = "Change", "Changes", "changes"
    holds_everything = True
    category = "Audit"
    about = "Who changed which record from what to what, and events such as logins and exports."
    columns = ("at", "actor", "action", "table_name", "row_key", "origin", "request_id")
    order = (AuditEntry.at,)
    search = (AuditEntry.actor,)
    search_hint = "Who: the whole name"
    filters = ("origin",)
    keys = ("user_id", "table_name", "row_key", "action", "request_id")
    time_column = "at"
    head_panel = "panels/change_head.html"
    hint_about = "Every change leaves an entry."

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for one actor: with the time it is what the index holds."""
        return AuditEntry.actor == text.strip()

    def heading(self, record: Any) -> str:
        """Return ``Update of trading.portfolios by ada``."""
        action, actor, table = word(record.action), record.actor, record.table_name
        action = f"{action[:1].upper()}{action[1:]}"
        if table:
            return gettext(
                "%(action)s of %(table)s by %(actor)s", action=action, table=table, actor=actor
            )
        return gettext("%(action)s by %(actor)s", action=action, actor=actor)

    def place_of(self, record: AuditEntry) -> str:
        """Return the address of the history of the record that an entry is about, or nothing."""
        view = REFERENCES.get(record.table_name or "")
        if view is None or record.row_key is None:
            return ""
        return f"/{view.identity}/history/{quote(record.row_key, safe=';:+')}"


class SealView(RecordView, model=Seal):
    """Seals."""

    name, name_plural, path = "Seal", "Seals", "seals"
    category = "Audit"
    about = "Hashes over the changes, each over the one before: `tradekeep audit verify` compares."
    columns = ("number", "sealed_at", "entries_count", "first_at", "last_at", "hash")
    order = (Seal.number,)
    hint = "tradekeep audit seal"
    hint_about = "The worker seals every minute."

    def heading(self, record: Any) -> str:
        """Return ``Seal 12``."""
        return gettext("Seal %(number)s", number=record.number)


VIEWS = (AuditEntryView, SealView)
