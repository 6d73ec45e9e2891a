"""Keeps a folder's objects inside the folder: a symbolic link may lead anywhere.

Every function blocks and runs in a thread. A link that somebody with rights on the folder makes
between the look and the read is not what this protects against.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from domain.errors import InvalidData

_BEING_WRITTEN: Final = re.compile(r".*#\d+")


def check_path(root: Path, key: str) -> None:
    """Refuse a key that leads through a symbolic link, or below another object.

    Raises:
        InvalidData: It does.
    """
    path, *rest = str(root), *key.split("/")
    for number, segment in enumerate(rest, start=1):
        path = f"{path}/{segment}"
        mode = _mode(path)
        if mode is None:
            return
        if stat.S_ISLNK(mode):
            raise InvalidData("key", key, "lead through no symbolic link")
        is_last = number == len(rest)
        if is_last == stat.S_ISDIR(mode):
            raise InvalidData("key", key, "be neither a folder of objects nor lie below an object")


def walk(root: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (key, status) of the files below `prefix`, links and unfinished writes left out."""
    start = root / prefix
    if any(part.is_symlink() for part in (start, *start.parents) if part.is_relative_to(root)):
        return
    for folder, _, names in os.walk(start, followlinks=False):
        for name in names:
            path = Path(folder, name)
            try:
                status = path.lstat()
            except FileNotFoundError:  # deleted meanwhile
                continue
            if stat.S_ISREG(status.st_mode) and not _BEING_WRITTEN.fullmatch(name):
                yield path.relative_to(root).as_posix(), status


def make_durable(root: Path, key: str) -> None:
    """Wait until an object that was just written survives a power failure."""
    path = root / key
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
