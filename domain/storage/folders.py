"""A folder of objects: put, get, stream, list, delete. Every name stays below its prefix.

The library's own coroutines are not used: a process that ends while one of its threads reports a
result aborts. Its blocking calls run in threads instead.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, Final, TypeVar

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from domain.errors import AccessDenied, InvalidData, NotFound, Unavailable, shorten
from domain.storage import guarding
from domain.storage.content_types import content_type_of
from domain.storage.keys import checked_key, checked_name
from domain.storage.opening import Opened

T = TypeVar("T")

Content = bytes | AsyncIterable[bytes]

LARGEST: Final = 100_000_000
"""Bytes that an object may have unless the caller says otherwise."""

_PIECE: Final = 1_000_000
_LONGEST_PIECE: Final = 4_000_000
_PAGE: Final = 1_000
_MISSING: Final = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known about an object without reading it.

    Args:
        key: Its full key.
        name: Its key below the folder that was asked.
        size: Bytes.
        content_type: Media type, from the name.
        modified_at: When it was written, UTC.
        sha256: SHA-256 of its bytes, 32 bytes, after `put`; else None: see `Folder.digest`.
    """

    key: str
    name: str
    size: int
    content_type: str
    modified_at: datetime
    sha256: bytes | None = None


class Folder:
    """Objects below one prefix.

    Args:
        opened: The store.
        prefix: Where the folder begins; empty for the whole store.
    """

    def __init__(self, opened: Opened, prefix: str = "") -> None:
        self._opened = opened
        self.prefix = prefix

    def folder(self, name: str) -> "Folder":
        """Return the folder `name` below this one.

        Raises:
            InvalidData: `name` is no part of a key.
        """
        return Folder(self._opened, self._joined(name))

    def key(self, name: str) -> str:
        """Return the full key of `name`.

        Raises:
            InvalidData: The key would break a rule of `domain.storage.keys`.
        """
        return checked_key(self._joined(name))

    async def put(self, name: str, content: Content, *, limit: int | None = None) -> ObjectInfo:
        """Write an object, whole or not at all; an existing one is replaced.

        Args:
            name: Its name in this folder.
            content: Bytes, or pieces of bytes: those wait in a temporary file, not in memory.
            limit: Bytes that it may have; default `LARGEST`.

        Raises:
            InvalidData: The name breaks a rule, or the content is larger than `limit`.
            Unavailable: The store cannot be reached.
        """
        key, limit = self.key(name), LARGEST if limit is None else limit
        if isinstance(content, bytes):
            _check_size(len(content), limit)
            return await self._write(key, content)
        if not isinstance(content, AsyncIterable):
            raise InvalidData("content", type(content).__name__, "be bytes or pieces of bytes")
        with tempfile.TemporaryFile() as file:
            await _spool(content, file, limit)
            return await self._write(key, file)

    async def get(self, name: str, *, limit: int = LARGEST) -> bytes:
        """Return an object's bytes.

        Args:
            name: Its name in this folder.
            limit: Larger objects are refused: stream them.

        Raises:
            NotFound: There is no such object.
            InvalidData: The name breaks a rule, or the object is larger than `limit`.
            Unavailable: The store cannot be reached.
        """
        key = self.key(name)

        def read() -> bytes:
            found = self._guarded(key, obstore.get)
            if found.meta["size"] > limit:
                rule = f"have at most {limit} bytes to be read at once"
                raise InvalidData("object", key, rule)
            return bytes(found.bytes())

        return await _in_thread(key, read)

    async def stream(self, name: str) -> AsyncIterator[bytes]:
        """Yield an object's bytes in pieces of about a megabyte, four at most.

        Raises:
            NotFound: There is no such object.
            Unavailable: The store cannot be reached, or stopped answering.
        """
        key = self.key(name)
        found = await _in_thread(key, lambda: self._guarded(key, obstore.get))
        pieces = found.stream(min_chunk_size=_PIECE)
        while piece := await _in_thread(key, lambda: next(pieces, None)):
            whole = memoryview(piece)
            # A store may answer with more than it was asked for: memory gives all at once.
            for start in range(0, len(whole), _LONGEST_PIECE):
                yield bytes(whole[start : start + _LONGEST_PIECE])

    async def head(self, name: str) -> ObjectInfo:
        """Return what is known about an object.

        Raises:
            NotFound: There is no such object.
            Unavailable: The store cannot be reached.
        """
        key = self.key(name)
        found = await _in_thread(key, lambda: self._guarded(key, obstore.head))
        return self._info(key, found["size"], found["last_modified"])

    async def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        try:
            await self.head(name)
        except NotFound:
            return False
        return True

    async def digest(self, name: str) -> bytes:
        """Return the SHA-256 of an object, 32 bytes; reads it.

        Raises:
            NotFound: There is no such object.
        """
        hashed = hashlib.sha256()
        async for piece in self.stream(name):
            hashed.update(piece)
        return hashed.digest()

    async def list(self, below: str = "") -> Sequence[ObjectInfo]:
        """Return the objects of this folder and of those in it, by key.

        Args:
            below: Only what lies in this folder below.
        """
        prefix = self._joined(below) if below else self.prefix
        found = await _in_thread(prefix, lambda: sorted(self._walk(prefix)))
        return [self._info(key, size, modified) for key, size, modified in found]

    async def delete(self, name: str) -> None:
        """Delete an object; nothing happens when there is none.

        Raises:
            Unavailable: The store cannot be reached.
        """
        key = self.key(name)
        try:
            await _in_thread(key, lambda: self._guarded(key, obstore.delete))
        except NotFound:
            return

    async def delete_all(self, below: str = "") -> int:
        """Delete every object of this folder and of those in it; return how many.

        Raises:
            InvalidData: It is the whole store.
        """
        if not self.prefix and not below:
            raise InvalidData("folder", "", "be named: the whole store is not deleted at once")
        found = await self.list(below)
        store = self._opened.store
        for start in range(0, len(found), _PAGE):
            keys = [item.key for item in found[start : start + _PAGE]]
            try:
                await _in_thread(keys[0], partial(obstore.delete, store, keys))
            except NotFound:  # somebody else was faster: the rest one by one
                for key in keys:
                    await Folder(self._opened).delete(key)
        return len(found)

    async def copy(self, source: str, target: str) -> None:
        """Copy an object within this folder; an existing target is replaced.

        Raises:
            NotFound: There is no such source.
        """
        keys = self.key(source), self.key(target)

        def copy() -> None:
            for key in keys:
                self._check(key)
            obstore.copy(self._opened.store, *keys)

        await _in_thread(keys[0], copy)

    # ── the store ────────────────────────────────────────────────────────────────────────────

    def _joined(self, name: str) -> str:
        checked_name(name)
        return f"{self.prefix}/{name}" if self.prefix else name

    def _check(self, key: str) -> None:
        if self._opened.folder is not None:
            guarding.check_path(self._opened.folder, key)

    def _guarded(self, key: str, ask: Callable[..., Any]) -> Any:
        self._check(key)
        return ask(self._opened.store, key)

    async def _write(self, key: str, content: "bytes | IO[bytes]") -> ObjectInfo:
        def write() -> tuple[int, bytes]:
            self._check(key)
            size, digest = _measured(content)
            attributes: Any = {"Content-Type": content_type_of(key)}
            if self._opened.folder is not None:
                attributes = None
            obstore.put(self._opened.store, key, content, attributes=attributes)
            if self._opened.folder is not None:
                guarding.make_durable(self._opened.folder, key)
            return size, digest

        size, digest = await _in_thread(key, write)
        written = await self.head(key.removeprefix(f"{self.prefix}/"))
        return self._info(key, size, written.modified_at, digest)

    def _walk(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        if self._opened.folder is not None:
            for key, status in guarding.walk(self._opened.folder, prefix):
                yield key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)
            return
        for page in obstore.list(self._opened.store, prefix or None, chunk_size=_PAGE):
            for item in page:
                yield item["path"], item["size"], item["last_modified"]

    def _info(
        self, key: str, size: int, modified_at: datetime, sha256: bytes | None = None
    ) -> ObjectInfo:
        name = key.removeprefix(f"{self.prefix}/") if self.prefix else key
        content_type = content_type_of(name)
        return ObjectInfo(key, name, size, content_type, modified_at.astimezone(UTC), sha256)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise InvalidData("content", f"{size} bytes", f"have at most {limit} bytes")


async def _spool(content: AsyncIterable[bytes], file: IO[bytes], limit: int) -> None:
    size = 0
    async for piece in content:
        size += len(piece)
        _check_size(size, limit)
        await asyncio.to_thread(file.write, piece)


def _measured(content: bytes | IO[bytes]) -> tuple[int, bytes]:
    """Return (size, SHA-256); a file is left at its beginning."""
    if isinstance(content, bytes):
        return len(content), hashlib.sha256(content).digest()
    content.seek(0)
    hashed = hashlib.sha256()
    while piece := content.read(_PIECE):
        hashed.update(piece)
    size = content.tell()
    content.seek(0)
    return size, hashed.digest()


async def _in_thread(key: str, work: Callable[[], T]) -> T:
    with _translated(key):
        return await asyncio.to_thread(work)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    # The library's messages hold addresses and paths: none of them is passed on.
    try:
        yield
    except _MISSING:
        raise NotFound(f"object {shorten(key)} was not found") from None
    except (PermissionDeniedError, UnauthenticatedError, PermissionError):
        raise AccessDenied("the object store refused access") from None
    except (BaseError, OSError):
        raise Unavailable("the object store cannot be reached, or failed") from None
