"""Files on their way in, between their preview and their import: outside of anything served.

A file lies in a folder of this operating-system user that nobody else reads, under a name that
cannot be guessed and that belongs to one member of staff; an hour later it is gone.
"""

import hashlib
import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from admin.shielding import UPLOAD_BYTES
from domain.clock import now
from domain.errors import InvalidData

_SECONDS: Final = 3_600
_TOKEN: Final = re.compile(r"[0-9a-f]{32}")
_CHUNK: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that waits to be imported.

    Args:
        token: Its name.
        filename: What its owner calls it, without folders.
        content: Its bytes.
    """

    token: str
    filename: str
    content: bytes

    @property
    def sha256(self) -> bytes:
        """The hash of the content."""
        return hashlib.sha256(self.content).digest()


class Uploads:
    """The waiting files.

    Args:
        folder: Where they lie; default: in the folder for temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        default = Path(tempfile.gettempdir()) / f"tradekeep-uploads-{os.geteuid()}"
        self._folder = folder or default

    async def receive(self, owner: UUID, form: FormData) -> Upload:
        """Store the file of a form.

        Raises:
            InvalidData: There is none, it is empty, or larger than `UPLOAD_BYTES`.
        """
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidData("file", "", "be chosen")
        parts, size = [], 0
        while part := await file.read(_CHUNK):
            size += len(part)
            if size > UPLOAD_BYTES:
                raise InvalidData("file", size, f"have at most {UPLOAD_BYTES:,} bytes")
            parts.append(part)
        if not size:
            raise InvalidData("file", file.filename or "", "hold something")
        name = PurePath((file.filename or "").replace("\\", "/")).name[:200] or "file"
        upload = Upload(secrets.token_hex(16), name, b"".join(parts))
        await run_in_threadpool(self._store, owner, upload)
        return upload

    async def take(self, owner: UUID, token: str) -> Upload:
        """Return a file that its owner sent before.

        Raises:
            InvalidData: There is none, or no more.
        """
        return await run_in_threadpool(self._load, owner, token)

    async def drop(self, owner: UUID, token: str) -> None:
        """Remove a file."""
        for path in (self._path(owner, token), self._path(owner, token, ".json")):
            await run_in_threadpool(path.unlink, missing_ok=True)

    def _store(self, owner: UUID, upload: Upload) -> None:
        self._open_folder()
        self._sweep()
        for path, content in (
            (self._path(owner, upload.token), upload.content),
            (self._path(owner, upload.token, ".json"), json.dumps(upload.filename).encode()),
        ):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as stored:
                stored.write(content)

    def _load(self, owner: UUID, token: str) -> Upload:
        try:
            content = self._path(owner, token).read_bytes()
            name: Any = json.loads(self._path(owner, token, ".json").read_bytes())
        except FileNotFoundError:
            raise InvalidData("file", token, "be sent again: it is kept for an hour") from None
        return Upload(token, str(name), content)

    def _path(self, owner: UUID, token: str, ending: str = "") -> Path:
        if not _TOKEN.fullmatch(token):
            raise InvalidData("file", token, "be sent first")
        return self._folder / f"{owner.hex}-{token}{ending}"

    def _open_folder(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self._folder.lstat()
        if status.st_uid != os.geteuid() or self._folder.is_symlink() or status.st_mode & 0o077:
            raise PermissionError(f"{self._folder} belongs to somebody else")

    def _sweep(self) -> None:
        oldest = now().timestamp() - _SECONDS
        for path in self._folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
