"""Runs the contestants of a case in random turns and keeps the best of each.

Turns are interleaved so that a busy machine slows all of them alike; the minimum is what the code
costs when nothing else gets in the way.
"""

import gc
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

Contestant = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Best:
    """The best turn of a contestant.

    Args:
        wall: Seconds on the clock.
        cpu: Seconds of this process on a core; what the server does is not in it.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        name: What is done.
        base: The contestant that the others are divided by.
        contestants: Ours is called ``tradekeep``.
        rounds: How many turns each takes.
        target: The highest ratio that ours may have, None for information only.
        repeats: Calls a turn, for things that take microseconds.
        peer_target: A peer, and the highest part of its time that ours may take.
    """

    name: str
    base: str
    contestants: Mapping[str, Contestant]
    rounds: int = 15
    target: float | None = None
    repeats: int = 1
    peer_target: tuple[str, float] | None = None


async def measure(case: Case) -> dict[str, Best]:
    """Return the best turn of every contestant."""
    for contestant in case.contestants.values():
        await contestant()
    best: dict[str, Best] = {}
    gc.disable()
    try:
        for _ in range(case.rounds):
            for name in random.sample(list(case.contestants), len(case.contestants)):
                turn = await _turn(case.contestants[name], case.repeats)
                known = best.get(name, turn)
                best[name] = Best(min(known.wall, turn.wall), min(known.cpu, turn.cpu))
            gc.collect()
    finally:
        gc.enable()
    return best


async def _turn(contestant: Contestant, repeats: int) -> Best:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        await contestant()
    return Best((time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats)
