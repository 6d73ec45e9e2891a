"""The circuit breaker between us and a server that does not answer."""

import time
from enum import StrEnum
from typing import Final

_FAILURES: Final = 3
_PAUSE: Final = 1.0


class BreakerState(StrEnum):
    """Whether the server is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Opens after failures in a row; after a pause one caller may try.

    Args:
        failures: How many in a row open it.
        pause: Seconds until the first try, and between tries.
    """

    def __init__(self, failures: int = _FAILURES, pause: float = _PAUSE) -> None:
        self._limit, self._pause = failures, pause
        self._failures = 0
        self._retry_at = 0.0
        self.state = BreakerState.CLOSED

    def allows(self) -> bool:
        """Return whether the caller may ask the server; in half-open only the first one may."""
        if self.state is BreakerState.CLOSED:
            return True
        if time.monotonic() < self._retry_at:
            return False
        # Should the one that tries never report, the next may after another pause.
        self._retry_at = time.monotonic() + self._pause
        self.state = BreakerState.HALF_OPEN
        return True

    def succeeded(self) -> None:
        """Report that the server answered."""
        self._failures = 0
        self.state = BreakerState.CLOSED

    def failed(self) -> None:
        """Report that the server did not answer."""
        self._failures += 1
        if self.state is BreakerState.HALF_OPEN or self._failures >= self._limit:
            self.state = BreakerState.OPEN
            self._retry_at = time.monotonic() + self._pause
