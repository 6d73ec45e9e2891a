"""Reads of one tick of the event loop in one command: fifty readers cost one round trip."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from domain.errors import Unavailable

ReadAll = Callable[[Sequence[str]], Coroutine[Any, Any, Sequence[bytes | None]]]


class BatchedReader:
    """Collects what is asked within one tick and reads it together.

    Args:
        read: Reads many keys at once; raises `Unavailable` when it cannot.
    """

    def __init__(self, read: ReadAll) -> None:
        self._read = read
        self._waiting: list[tuple[Sequence[str], asyncio.Future[Sequence[bytes | None]]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def read(self, keys: Sequence[str]) -> asyncio.Future[Sequence[bytes | None]]:
        """Return a future of the values at `keys`; they are read after this call."""
        future: asyncio.Future[Sequence[bytes | None]]
        future = asyncio.get_running_loop().create_future()
        if not self._waiting:
            # It runs in the loop's next round: what is asked until then goes along.
            task = asyncio.create_task(self._answer())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._waiting.append((keys, future))
        return future

    async def aclose(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self) -> None:
        asked, self._waiting = self._waiting, []
        try:
            if len(asked) == 1:
                _give(asked[0][1], await self._read(asked[0][0]))
                return
            unique = list(dict.fromkeys(key for keys, _ in asked for key in keys))
            found = dict(zip(unique, await self._read(unique), strict=True))
            for keys, future in asked:
                _give(future, [found[key] for key in keys])
        except Unavailable as error:
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
        except BaseException:
            # Only closing the loop cancels this task: nobody may be left waiting then.
            for _, future in asked:
                future.cancel()
            raise


def _give(future: asyncio.Future[Sequence[bytes | None]], values: Sequence[bytes | None]) -> None:
    if not future.done():
        future.set_result(values)
