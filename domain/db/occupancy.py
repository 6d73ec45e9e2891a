"""Who uses a server of ours: advisory file locks, which end with the process however it ends."""

import asyncio
import fcntl
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

import psutil

from domain.errors import ConfigurationError

LOCKS: Final = ("start.lock", "holders.lock")
"""The files that the locks are taken on."""


class Occupancy:
    """The processes that share the server in a folder; those that died count no longer.

    Args:
        folder: Where the lock files live.
        timeout: Seconds to wait for another process that starts or stops the server.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder, self._timeout = folder, timeout
        self._holding: IO[bytes] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object counts as a user of the server."""
        return self._holding is not None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock under which the server is started and stopped.

        Raises:
            ConfigurationError: Another process held it for longer than the timeout.
        """
        with (self._folder / "start.lock").open("ab") as lock:
            deadline = time.monotonic() + self._timeout
            while not _try_lock(lock, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"another process has been starting or stopping the server in "
                        f"{self._folder} for {self._timeout:g} seconds"
                    )
                time.sleep(0.02)
            yield

    def hold(self) -> None:
        """Count as a user until `release`."""
        if self._holding is None:
            self._holding = (self._folder / "holders.lock").open("ab")
            fcntl.flock(self._holding, fcntl.LOCK_SH)

    def release(self) -> None:
        """Count as a user no longer."""
        if self._holding is not None:
            # Unlocked, not just closed: a forked child may share the open file.
            fcntl.flock(self._holding, fcntl.LOCK_UN)
            self._holding.close()
            self._holding = None

    def is_unused(self) -> bool:
        """Return whether nobody counts as a user."""
        with (self._folder / "holders.lock").open("ab") as lock:
            return _try_lock(lock, fcntl.LOCK_EX)


class SharedServer(ABC):
    """A server that processes share: a context manager, sync or async, over `start` and `stop`."""

    @abstractmethod
    def start(self) -> str:
        """Start or join the server and return its URL."""

    @abstractmethod
    def stop(self) -> None:
        """Leave; the last one to leave stops the server."""

    async def astart(self) -> str:
        """Do `start` in a thread."""
        return await asyncio.to_thread(self.start)

    async def aclose(self) -> None:
        """Do `stop` in a thread."""
        await asyncio.to_thread(self.stop)

    def __enter__(self) -> Self:
        """Start or join the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the server."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start or join the server."""
        await self.astart()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the server."""
        await self.aclose()


def _try_lock(file: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def command_of(pid: int) -> list[str] | None:
    """Return a process's command line, empty for a zombie; None when gone or not to be seen."""
    try:
        command: list[str] = psutil.Process(pid).cmdline()
    except psutil.ZombieProcess:
        return []
    except psutil.Error:
        return None
    return command
