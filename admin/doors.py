"""Who is connected, for how long: the list of open connections and the one who walks it.

A connection lives as long as the session or key that opened it: `Doorkeeper` asks the database
every few seconds, and sends away who is not welcome any more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Final
from uuid import UUID

from admin.signing_in import SignIn
from domain.cache.keys import Keyspace
from domain.database import Database
from domain.db.scope import Reach
from domain.db.unit import Unit
from domain.errors import TradekeepError
from domain.identity.api_keys import PREFIX, authenticate, find_key
from domain.identity.models import User, UserSession
from domain.identity.signing_in import Lifetime, find_session, resume_login, token_hash
from domain.realtime import Live

MOST_VISITS: Final = 20
"""Connections of one user."""

_log: Final = logging.getLogger("tradekeep.admin")
_FAREWELL: Final = 1.0


class Goodbye(IntEnum):
    """Why a connection is closed; WebSocket close codes."""

    GOING_AWAY = 1001
    TOO_LARGE = 1009
    TOO_SLOW = 1013
    MALFORMED = 4400
    NOT_WELCOME = 4401
    FORBIDDEN = 4403
    TOO_MANY = 4429


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who is known.

    Args:
        user_id: The user.
        is_staff: Whether the user hears what happens to all tenants.
        reach: The tenants besides, of whom limited staff hear.
        digest: SHA-256 of the session's token or of the key.
        has_key: Whether it is a key.
    """

    user_id: UUID
    is_staff: bool
    digest: bytes
    has_key: bool
    reach: Reach | None = None


class Visit:
    """One open connection.

    Args:
        guest: Whose.
    """

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.ended = asyncio.Event()
        self.code = Goodbye.GOING_AWAY

    def end(self, code: Goodbye) -> None:
        """Ask the connection to close."""
        if not self.ended.is_set():
            self.code = code
            self.ended.set()


@dataclass(frozen=True, slots=True)
class HouseRules:
    """Limits of the doors; seconds.

    Args:
        check: Pause between two looks whether a session or key still lives.
        doubt: Connections are closed when the database could not be asked for so long.
        beat: Pause between two signs of life to a client.
        login: How long a client may take for its first message when it has shown nothing.
        stuck: A client that takes no byte for so long is hopeless.
        visits: Connections of one user.
    """

    check: float = 10.0
    doubt: float = 60.0
    beat: float = 15.0
    login: float = 10.0
    stuck: float = 10.0
    visits: int = MOST_VISITS


class Doorkeeper:
    """Knows guests by what they show, lists their connections, and ends those that must end.

    Args:
        db: Where sessions and keys are.
        live: What guests come for.
        sign_in: Knows the cookie and the sessions' lifetime.
        rules: Limits.
    """

    def __init__(
        self, db: Database, live: Live, sign_in: SignIn, *, rules: HouseRules | None = None
    ) -> None:
        self.live, self.rules = live, rules or HouseRules()
        self._db, self._sign_in = db, sign_in
        self._visits: dict[UUID, set[Visit]] = {}
        self._is_closed = False
        self._nobody = asyncio.Event()
        self._nobody.set()

    @property
    def keys(self) -> Keyspace:
        """The names of keys and channels."""
        return self.live.keys

    @property
    def _lifetime(self) -> Lifetime:
        return self._sign_in.lifetime

    async def by_cookie(self, cookies: Mapping[str, str]) -> Guest | None:
        """Return whose session the cookie names, if it lives."""
        token = cookies.get(self._sign_in.cookie)
        return await self._by_session(token) if token else None

    async def by_token(self, token: str) -> Guest | None:
        """Return whose API key or session this is, if it lives."""
        if not token.startswith(PREFIX):
            return await self._by_session(token)
        async with self._db.transaction(system="live data") as unit:
            found = await authenticate(unit, token)
            return None if found is None else await self._guest(unit, token_hash(token), found[0])

    async def _by_session(self, token: str) -> Guest | None:
        async with self._db.transaction(system="live data") as unit:
            found = await resume_login(unit, token, self._lifetime)
            return None if found is None else await self._guest(unit, token_hash(token), *found)

    async def _guest(
        self, unit: Unit, digest: bytes, user: User, session: UserSession | None = None
    ) -> Guest:
        staff = await self._sign_in.standing(unit, user, session)
        # Whoever looks as a tenant hears what that tenant hears.
        reach = staff.reach if staff.hears_others else None
        return Guest(staff.user.id, staff.hears_all, digest, session is None, reach=reach)

    @contextmanager
    def admitted(self, guest: Guest) -> Iterator[Visit | None]:
        """Give the guest a place on the list for the block; None when there is none."""
        visits = self._visits.setdefault(guest.user_id, set())
        if len(visits) >= self.rules.visits:
            yield None
            return
        visit = Visit(guest)
        if self._is_closed:
            visit.end(Goodbye.GOING_AWAY)
        visits.add(visit)
        self._nobody.clear()
        try:
            yield visit
        finally:
            visits.discard(visit)
            if not visits:
                self._visits.pop(guest.user_id, None)
            if not self._visits:
                self._nobody.set()

    @property
    def visits(self) -> list[Visit]:
        """All open connections."""
        return [visit for visits in self._visits.values() for visit in visits]

    @asynccontextmanager
    async def on_duty(self) -> AsyncIterator[None]:
        """Walk the list while the block runs; then let nobody in and send everybody away."""
        walking = asyncio.create_task(self._walk(), name="doorkeeper")
        try:
            yield
        finally:
            walking.cancel()
            with suppress(asyncio.CancelledError):
                await walking
            await self.dismiss()

    async def dismiss(self) -> None:
        """Ask every connection to close, and give them a second to do it."""
        self._is_closed = True
        for visit in self.visits:
            visit.end(Goodbye.GOING_AWAY)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._nobody.wait()

    async def _walk(self) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while True:
            await asyncio.sleep(self.rules.check)
            try:
                await self._look()
                asked_at = loop.time()
            except (TradekeepError, OSError) as error:
                _log.warning("open connections could not be checked: %s", type(error).__name__)
                if loop.time() - asked_at > self.rules.doubt:
                    for visit in self.visits:
                        visit.end(Goodbye.TOO_SLOW)

    async def _look(self) -> None:
        """End the connections of sessions and keys that do not live any more."""
        guests = {visit.guest for visit in self.visits}
        gone = set()
        async with self._db.read(system="live data") as unit:
            for guest in guests:
                if await self._now(unit, guest) != guest:
                    gone.add(guest)
        for visit in self.visits:
            if visit.guest in gone:
                visit.end(Goodbye.NOT_WELCOME)

    async def _now(self, unit: Unit, guest: Guest) -> Guest | None:
        """Return what the guest would be if it came now."""
        found: tuple[User, UserSession | None] | None
        if guest.has_key:
            key = await find_key(unit, guest.digest)
            found = None if key is None else (key[0], None)
        else:
            found = await find_session(unit, guest.digest, self._lifetime)
        return None if found is None else await self._guest(unit, guest.digest, *found)
