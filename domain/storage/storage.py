"""The whole store, and what one user sees of it."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from domain.errors import NotFound
from domain.settings import Settings
from domain.storage.folders import LARGEST, Content, Folder, ObjectInfo
from domain.storage.keys import user_prefix
from domain.storage.opening import Opened, open_store
from domain.storage.staging import Staged

_FOLDER: Final = "storage"


class Storage(Folder):
    """The object store.

    Args:
        url: A folder, ``file:///folder``, ``memory:`` or
            ``s3://bucket/prefix?endpoint=…&region=…``; default: the setting ``storage_url``, else
            a folder in the data folder.
        settings: Default: read from the environment.

    Raises:
        ConfigurationError: The URL is none of these forms, or holds a secret.
    """

    def __init__(self, url: str | None = None, *, settings: Settings | None = None) -> None:
        if url is None:
            chosen = settings or Settings.load()
            url = chosen.storage_url or str(chosen.data_dir / _FOLDER)
        super().__init__(open_store(url))

    @property
    def knowledge(self) -> Folder:
        """Documents of the knowledge base."""
        return self.folder("knowledge")

    @property
    def embeddings(self) -> Folder:
        """Vectors kept as files."""
        return self.folder("embeddings")

    @property
    def backups(self) -> Folder:
        """Dumps of the database; `Folder.put` takes a stream and a `limit` of their size."""
        return self.folder("backups")

    def of_user(self, user_id: UUID) -> "UserStorage":
        """Return what belongs to one user; no name leads out of it.

        Raises:
            InvalidData: `user_id` is not a UUID.
        """
        return UserStorage(self._opened, user_prefix(user_id))

    def staged(self) -> Staged:
        """Return a block in which objects share the fate of a transaction."""
        return Staged(self)

    async def get_knowledge_doc(self, path: str) -> str | None:
        """Return the text of a document, or None.

        Args:
            path: Its place below ``knowledge/``.
        """
        try:
            return (await self.knowledge.get(path)).decode()
        except NotFound:
            return None

    async def list_knowledge_docs(self, prefix: str = "") -> Sequence[str]:
        """Return the paths of documents below a folder of the knowledge base."""
        folder = self.knowledge
        return [item.name for item in await folder.list(prefix.rstrip("/"))]


class UserStorage:
    """One user's exports and uploads.

    Args:
        opened: The store.
        prefix: The user's folder.
    """

    def __init__(self, opened: Opened, prefix: str) -> None:
        self._all = Folder(opened, prefix)
        self.exports = Folder(opened, f"{prefix}/exports")
        self.uploads = Folder(opened, f"{prefix}/uploads")

    async def save_export(self, filename: str, content: Content) -> str:
        """Write an export and return its full key."""
        return (await self.exports.put(filename, content)).key

    async def get_export(self, filename: str) -> bytes | None:
        """Return an export's bytes, or None."""
        return await _found(self.exports, filename)

    async def list_exports(self) -> Sequence[ObjectInfo]:
        """Return the exports by name."""
        return await self.exports.list()

    async def save_upload(self, filename: str, content: Content, *, limit: int = LARGEST) -> str:
        """Write an upload of at most `limit` bytes and return its full key."""
        return (await self.uploads.put(filename, content, limit=limit)).key

    async def get_upload(self, filename: str) -> bytes | None:
        """Return an upload's bytes, or None."""
        return await _found(self.uploads, filename)

    async def list_uploads(self) -> Sequence[ObjectInfo]:
        """Return the uploads by name."""
        return await self.uploads.list()

    async def delete_all(self) -> int:
        """Delete everything of this user; return how many objects there were."""
        return await self._all.delete_all()


async def _found(folder: Folder, filename: str) -> bytes | None:
    try:
        return await folder.get(filename)
    except NotFound:
        return None
