"""Hears what the database notifies, on a connection of its own, for as long as it runs.

Notices that are sent while nobody listens are lost: whoever listens is told each time that hearing
begins, and has to assume everything. PgBouncer in transaction mode passes no notices on.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from domain.db.driver import ScopedConnection
from domain.db.engine import listening_engine
from domain.errors import TradekeepError
from domain.settings import Settings

_log: Final = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_HEARTBEAT: Final = 15.0


class Listener:
    """Listens to one channel and connects again whenever the connection ends.

    Args:
        url: The database.
        settings: How it is connected to.
        channel: The channel's name.
    """

    def __init__(self, url: URL, settings: Settings, channel: str) -> None:
        self._engine = listening_engine(url, settings)
        self._channel = channel

    async def run(
        self, begun: Callable[[], Awaitable[None]], hear: Callable[[str], Awaitable[None]]
    ) -> None:
        """Listen until cancelled.

        Args:
            begun: Called whenever hearing begins: what was sent before was missed.
            hear: Called with every notice, one at a time, in their order.
        """
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    await self._listen(begun, hear)
                    pause = _FIRST_PAUSE
                except (TradekeepError, SQLAlchemyError, OSError) as error:
                    _log.warning("nothing is heard from the database: %s", type(error).__name__)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            await self._engine.dispose()

    async def _listen(
        self, begun: Callable[[], Awaitable[None]], hear: Callable[[str], Awaitable[None]]
    ) -> None:
        """Listen until the connection ends."""
        notices: asyncio.Queue[str | None] = asyncio.Queue()
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert isinstance(driver, ScopedConnection)  # noqa: S101 - the engine makes nothing else

            def note(*heard: Any) -> None:
                notices.put_nowait(heard[-1])

            driver.add_termination_listener(lambda *_: notices.put_nowait(None))
            await driver.add_listener(self._channel, note)
            try:
                await begun()
                await _pass_on(driver, notices, hear)
            finally:
                await connection.invalidate()


async def _pass_on(
    driver: ScopedConnection,
    notices: "asyncio.Queue[str | None]",
    hear: Callable[[str], Awaitable[None]],
) -> None:
    while not driver.is_closed():
        try:
            async with asyncio.timeout(_HEARTBEAT):
                notice = await notices.get()
        except TimeoutError:
            # A connection that died without a word would be silent for ever.
            await _beat(driver)
            continue
        if notice is None:
            return
        await hear(notice)


async def _beat(driver: ScopedConnection) -> None:
    try:
        await driver.fetchval("SELECT 1", timeout=_HEARTBEAT)
    except Exception as error:
        raise OSError("the connection does not answer") from error
