"""Slows down guessing: counts failed logins by account and by address.

The counters live in this process. Behind several processes each has its own, so the limit is that
many times higher; a shared store comes with the cache.
"""

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from typing import Final

from domain.clock import now

_WINDOW: Final = timedelta(minutes=5)
_ALLOWED: Final = 10
_REMEMBERED: Final = 10_000


class Throttle:
    """A sliding window of failures a name: ten in five minutes."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[datetime]] = OrderedDict()

    def wait_seconds(self, *names: str) -> int:
        """Return how long these names must wait; 0 when they may try."""
        instant = now()
        waits = [self._wait(name, instant) for name in names]
        return max(waits, default=0)

    def attempt(self, *names: str) -> None:
        """Count an attempt for each of these names before it is known how it ends.

        Counted first, because a hundred guesses sent at once must not all find the window empty.
        """
        instant = now()
        for name in names:
            self._failures.setdefault(name, deque()).append(instant)
            self._failures.move_to_end(name)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, account: str, *others: str) -> None:
        """Forget the failures of `account`, and of the others this attempt only.

        Who owns one account must not clear the counter of an address by logging in.
        """
        self._failures.pop(account, None)
        for name in others:
            if failures := self._failures.get(name):
                failures.pop()

    def _wait(self, name: str, instant: datetime) -> int:
        failures = self._failures.get(name, deque())
        while failures and failures[0] <= instant - _WINDOW:
            failures.popleft()
        if len(failures) < _ALLOWED:
            return 0
        return int((failures[0] + _WINDOW - instant).total_seconds()) + 1
