"""Objects by key: a local folder by default, an S3-compatible store by URL.

Knows keys, bytes and media types; nothing of tables. `Storage` opens the store, a `Folder` is a
part of it whose names cannot lead out, `Staged` ties objects to the outcome of a transaction.
"""

from domain.storage.folders import Folder, ObjectInfo
from domain.storage.staging import Staged
from domain.storage.storage import Storage, UserStorage

__all__ = ["Folder", "ObjectInfo", "Staged", "Storage", "UserStorage"]
