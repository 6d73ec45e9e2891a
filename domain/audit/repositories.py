"""What is asked about changes."""

from sqlalchemy import Select

from domain.audit.models import AuditEntry, Seal
from domain.db.repository import Repository


class AuditEntryRepository(Repository[AuditEntry]):
    """Who changed what."""

    def of(self, table: str, key: str) -> Select[AuditEntry]:
        """Return the entries about one row, the newest first, to be read page by page.

        Args:
            table: The table, ``schema.table``.
            key: The row's primary key as text, parts joined by a semicolon.
        """
        found = self.query(AuditEntry.table_name == table, AuditEntry.row_key == key)
        return found.order_by(AuditEntry.at.desc(), AuditEntry.id.desc())

    def by(self, actor: str) -> Select[AuditEntry]:
        """Return the entries that somebody caused, the newest first, to be read page by page."""
        found = self.query(AuditEntry.actor == actor)
        return found.order_by(AuditEntry.at.desc(), AuditEntry.id.desc())


class SealRepository(Repository[Seal]):
    """Seals over the entries."""
