"""A whole table as a file: when it begins, what it costs, and what others wait meanwhile."""

import threading
import time
from dataclasses import dataclass
from typing import Final

import httpx2 as httpx
import psutil

from benchmarks.admins.contest import Contestant

_PATIENCE: Final = 600.0
_PAUSE: Final = 0.05
_QUIET: Final = 3.0
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Exported:
    """What one export of a table was like.

    Args:
        first_byte: When the first byte was there [s].
        total: When the last byte was there [s].
        size: The file [MB].
        growth: What the server held more than before, at most [MB].
        quiet: What another page took before, by the slowest but one in a hundred [ms].
        busy: What it took meanwhile, likewise [ms].
    """

    first_byte: float
    total: float
    size: float
    growth: float
    quiet: float
    busy: float


class _Watch(threading.Thread):
    """Asks for another page again and again, and looks how much memory the server holds."""

    def __init__(self, contestant: Contestant) -> None:
        super().__init__(daemon=True)
        self._contestant = contestant
        self._over = threading.Event()
        self.waits: list[float] = []
        self.most = 0

    def run(self) -> None:
        address = self._contestant.address + self._contestant.pages["list"]
        with httpx.Client(cookies=dict(self._contestant.cookies), timeout=_PATIENCE) as client:
            while not self._over.is_set():
                start = time.perf_counter()
                client.get(address)
                self.waits.append((time.perf_counter() - start) * 1000)
                self.most = max(self.most, _resident(self._contestant.process))
                time.sleep(_PAUSE)

    def stop(self) -> "_Watch":
        self._over.set()
        self.join()
        return self

    @property
    def slow(self) -> float:
        """What all but one in a hundred took at most."""
        return sorted(self.waits)[int(len(self.waits) * 0.99) - 1]


def measure_export(contestant: Contestant) -> Exported:
    """Export a table while somebody else reads pages."""
    quiet = _Watch(contestant)
    quiet.start()
    time.sleep(_QUIET)
    quiet.stop()
    before = _resident(contestant.process)
    busy = _Watch(contestant)
    busy.start()
    first, total, size = _fetch(contestant)
    busy.stop()
    growth = (busy.most - before) / _MEGABYTE
    return Exported(first, total, size / _MEGABYTE, growth, quiet.slow, busy.slow)


def _fetch(contestant: Contestant) -> tuple[float, float, int]:
    """Return when the first and the last byte came, and how many there were."""
    address = contestant.address + contestant.pages["export"]
    start, first, size = time.perf_counter(), 0.0, 0
    with (
        httpx.Client(cookies=dict(contestant.cookies), timeout=_PATIENCE) as client,
        client.stream("GET", address, headers={"accept-encoding": "identity"}) as response,
    ):
        response.raise_for_status()
        for part in response.iter_raw():
            first = first or time.perf_counter() - start
            size += len(part)
    return first, time.perf_counter() - start, size


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)
