"""Files of entries: bytes in the object store, a row in the journal, both or neither."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from domain.clock import new_id, now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, NotFound
from domain.journal.models import Attachment, JournalEntry
from domain.journal.repositories import AttachmentRepository
from domain.storage import Folder, Staged, Storage
from domain.storage.content_types import content_type_of
from domain.storage.folders import Content

LARGEST: Final = 25_000_000
"""Bytes of one attachment."""

_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,10}$")
_LONGEST_NAME: Final = 255
_FOLDER: Final = "journal"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach.

    Args:
        filename: Its name, without folders; any characters but NUL.
        content: Bytes, or pieces of bytes.
        caption: What it shows.
        annotations: Marks drawn on it, as the client keeps them.
    """

    filename: str
    content: Content
    caption: str | None = None
    annotations: list[Any] = field(default_factory=list)


async def attach(
    unit: UnitOfWork, staged: Staged, entry: JournalEntry, file: NewFile
) -> Attachment:
    """Add a file to an entry, after those it has.

    The object is written at once and taken back when `staged` ends with an error; open it outside
    the transaction. See `Staged`.

    Raises:
        InvalidData: The name is unusable, or the file larger than 25 MB.
        Unavailable: The object store cannot be reached; no row is left.
    """
    name = _checked_name(file.filename)
    await unit.flush()
    folder = _folder(entry)
    extension = _EXTENSION.search(name)
    key = f"{folder}/{new_id()}{extension[0].lower() if extension else ''}"
    stored = await staged.put(key, file.content, limit=LARGEST)
    count = select(func.count()).where(Attachment.entry_id == entry.id)
    attachment = Attachment(
        user_id=entry.user_id,
        entry_id=entry.id,
        object_key=stored.key,
        filename=name,
        content_type=content_type_of(name),
        size=stored.size,
        sha256=stored.sha256 or b"",
        caption=file.caption,
        annotations=file.annotations,
        sort_order=(await unit.session.execute(count)).scalar_one(),
    )
    unit.session.add(attachment)
    await unit.flush()
    return attachment


async def read_attachment(storage: Folder, attachment: Attachment) -> bytes:
    """Return the bytes of a file, checked against what was attached.

    Raises:
        NotFound: The object is gone, or is not what was attached.
        Unavailable: The object store cannot be reached.
    """
    content = await storage.get(attachment.object_key)
    if hashlib.sha256(content).digest() != attachment.sha256:
        raise NotFound(f"attachment {attachment.id} is not what was attached")
    return content


async def detach(unit: UnitOfWork, staged: Staged, attachment: Attachment) -> None:
    """Remove a file from its entry; its object goes when `staged` has ended well."""
    await unit.session.delete(attachment)
    await unit.flush()
    staged.delete(attachment.object_key)


async def remove_entry(unit: UnitOfWork, staged: Staged, entry: JournalEntry) -> None:
    """Remove an entry with its links, tags and files."""
    for attachment in await unit.repository(AttachmentRepository).of(entry):
        staged.delete(attachment.object_key)
    await unit.session.delete(entry)
    await unit.flush()


async def sweep_attachments(
    unit: UnitOfWork,
    storage: Storage,
    user_id: UUID,
    *,
    older_than: timedelta = timedelta(days=1),
) -> int:
    """Delete a user's objects that no row names; return how many.

    They are left behind by a process that was killed, or by an entry that SQL deleted.

    Args:
        unit: A unit of the user, or a trusted one.
        storage: The object store.
        user_id: The user.
        older_than: Younger objects may belong to a transaction that is still open.
    """
    folder = storage.of_user(user_id).uploads.folder(_FOLDER)
    mine = select(Attachment.object_key).where(Attachment.user_id == user_id)
    known = set((await unit.session.scalars(mine)).all())
    limit = now() - older_than
    orphans = [
        item for item in await folder.list() if item.key not in known and item.modified_at < limit
    ]
    for orphan in orphans:
        await folder.delete(orphan.name)
    return len(orphans)


def _folder(entry: JournalEntry) -> str:
    if entry.id is None:
        raise InvalidData("entry", None, "be recorded before files are attached")
    return f"users/{entry.user_id}/uploads/{_FOLDER}/{entry.id}"


def _checked_name(filename: str) -> str:
    name = re.split(r"[/\\]", filename)[-1].strip()
    if not 1 <= len(name) <= _LONGEST_NAME or "\x00" in name:
        raise InvalidData("filename", filename, f"have 1 to {_LONGEST_NAME} characters, no NUL")
    return name
