"""Does a step again and again until it is told to stop; waits longer while there is nothing to do.

Why nobody is woken by NOTIFY: at commit it takes a lock that all notifying transactions of the
server share, so every booking would queue behind every other for a message that a look at a
partial index finds within the pause. Behind PgBouncer in transaction mode LISTEN does not work.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from domain.messaging.redacting import reason_of

SHORTEST: Final = 0.05
"""Seconds of the first pause after there was something to do."""

_LONGEST_TROUBLE: Final = 5.0
_LOG: Final = logging.getLogger("tradekeep.worker")

Step = Callable[[], Awaitable[int]]


async def keep_doing(name: str, step: Step, stopping: asyncio.Event, *, idle: float = 1.0) -> None:
    """Run `step` until `stopping` is set; an error is logged and the step tried again.

    Args:
        name: What the log calls it.
        step: Does something and returns how much it did.
        stopping: Ends the loop between two steps, and a pause at once.
        idle: Longest pause while there is nothing to do, seconds.
    """
    pause, trouble = SHORTEST, SHORTEST
    while not stopping.is_set():
        try:
            done = await step()
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever goes wrong in a step
            _LOG.warning("%s: %s", name, reason_of(error))
            trouble = min(trouble * 2, _LONGEST_TROUBLE)
            await _wait(stopping, trouble)
            continue
        trouble = SHORTEST
        if done:
            pause = SHORTEST
            continue
        await _wait(stopping, min(pause, idle))
        pause = min(pause * 2, idle)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, half of the time at random, so that workers do not look in step."""
    jittered = seconds * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), jittered)
