"""The WebSocket at ``/ws``: live data for programs and pages; every frame is JSON text.

A client shows who it is by the session's cookie, by ``Authorization: Bearer KEY``, or by its first
message, ``{"type": "auth", "token": …}``, where a browser can set no header. Never by the address:
addresses are logged. A page of another site is turned away by its Origin before anything is read.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from admin.channels import MOST_CHANNELS, Channel, NotForYou, channels_of, listed
from admin.doors import Doorkeeper, Goodbye, Guest, Visit
from admin.feeding import MOST_WAITING, Feed, Frame
from admin.shielding import is_own_origin
from domain.errors import InvalidData

MOST_CHARACTERS: Final = 8_192
"""Length of a client's message."""

_MOST_MESSAGES: Final = 100
_WINDOW: Final = 10.0
_MOST_STRANGERS: Final = 100
_BEARER: Final = "bearer "


class Auth(msgspec.Struct, tag="auth", tag_field="type", forbid_unknown_fields=True):
    """Who the client is; its first message."""

    token: str


class Subscribe(msgspec.Struct, tag="subscribe", tag_field="type", forbid_unknown_fields=True):
    """Listen to these too."""

    channels: list[str]


class Unsubscribe(msgspec.Struct, tag="unsubscribe", tag_field="type", forbid_unknown_fields=True):
    """Listen to these no more."""

    channels: list[str]


class Ping(msgspec.Struct, tag="ping", tag_field="type"):
    """Are you there?"""


_MESSAGES: Final = msgspec.json.Decoder(Auth | Subscribe | Unsubscribe | Ping)


class Leave(Exception):
    """The connection has to close.

    Args:
        code: Why.
        reason: For people.
    """

    def __init__(self, code: Goodbye, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class Sockets:
    """Answers at ``/ws``.

    Args:
        door: Knows the guests.
    """

    def __init__(self, door: Doorkeeper) -> None:
        self._door = door
        self._strangers = 0

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection until it ends."""
        headers = websocket.headers
        if "origin" in headers and not is_own_origin(headers):
            await _deny(websocket, 403, "This page is of another site.")
            return
        guest = await self._shown(websocket)
        if guest is None and "authorization" in headers:
            await _deny(websocket, 401, "This key is not valid.")
            return
        await websocket.accept()
        try:
            await self._converse(websocket, guest or await self._introduced(websocket))
        except Leave as leave:
            await _close(websocket, leave.code, leave.reason)
        except WebSocketDisconnect:
            pass

    async def _shown(self, websocket: WebSocket) -> Guest | None:
        """Return who the headers say it is."""
        given = websocket.headers.get("authorization")
        if given is not None:
            is_bearer = given.lower().startswith(_BEARER)
            return await self._door.by_token(given[len(_BEARER) :].strip()) if is_bearer else None
        # A browser always says where its page is from; a cookie without that is no browser's.
        if "origin" not in websocket.headers:
            return None
        return await self._door.by_cookie(websocket.cookies)

    async def _introduced(self, websocket: WebSocket) -> Guest:
        """Return who the first message says it is.

        Raises:
            Leave: Nobody.
        """
        if self._strangers >= _MOST_STRANGERS:
            raise Leave(Goodbye.TOO_SLOW, "too many connections wait to be known")
        self._strangers += 1
        try:
            async with asyncio.timeout(self._door.rules.login):
                message = await _received(websocket)
        except TimeoutError:
            raise Leave(Goodbye.NOT_WELCOME, "nothing was shown in time") from None
        finally:
            self._strangers -= 1
        guest = await self._door.by_token(message.token) if isinstance(message, Auth) else None
        if guest is None:
            raise Leave(Goodbye.NOT_WELCOME, "the first message must be auth with a valid token")
        return guest

    async def _converse(self, websocket: WebSocket, guest: Guest) -> None:
        with self._door.admitted(guest) as visit:
            if visit is None:
                raise Leave(Goodbye.TOO_MANY, "this user has too many connections")
            subscription = await self._door.live.hub.subscribe(limit=MOST_WAITING)
            async with subscription:
                feed = Feed(self._door.live, subscription)
                await Conversation(websocket, self._door, visit, feed).run()


class Conversation:
    """One client's connection after it is known.

    Args:
        websocket: The accepted connection.
        door: Limits.
        visit: Its place on the list.
        feed: Its channels.
    """

    def __init__(self, websocket: WebSocket, door: Doorkeeper, visit: Visit, feed: Feed) -> None:
        self._websocket, self._door, self._visit, self._feed = websocket, door, visit, feed

    async def run(self) -> None:
        """Talk until one side ends it.

        Raises:
            Leave: We do.
            WebSocketDisconnect: The client does.
        """
        await self._say({"type": "ready", "heartbeat": self._door.rules.beat})
        await self._subscribe(listed(self._websocket.query_params.get("channels", "")))
        await _first_of(self._listen(), self._tell(), self._beat(), self._see_out())

    async def _see_out(self) -> None:
        await self._visit.ended.wait()
        raise Leave(self._visit.code, self._visit.code.name.lower().replace("_", " "))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._door.rules.beat)
            await self._say({"type": "heartbeat"})

    async def _tell(self) -> None:
        async for frame in self._feed.frames():
            await self._send(written(frame))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        began, count = loop.time(), 0
        while True:
            message = await _received(self._websocket)
            if loop.time() - began > _WINDOW:
                began, count = loop.time(), 0
            count += 1
            if count > _MOST_MESSAGES:
                raise Leave(Goodbye.TOO_MANY, "too many messages")
            await self._answer(message)

    async def _answer(self, message: Any) -> None:
        if isinstance(message, Subscribe):
            await self._subscribe(message.channels)
        elif isinstance(message, Unsubscribe):
            gone = await self._feed.remove(message.channels)
            await self._say({"type": "unsubscribed", "channels": gone})
        elif isinstance(message, Ping):
            await self._say({"type": "pong"})
        else:
            await self._refuse("known", "you are known already", [])

    async def _subscribe(self, names: Sequence[str]) -> None:
        if not names:
            return
        channels = await self._allowed(names)
        if channels is not None:
            fresh = [channel.name for channel in channels]
            await self._say({"type": "subscribed", "channels": fresh})
            await self._feed.add(channels)

    async def _allowed(self, names: Sequence[str]) -> list[Channel] | None:
        if len({*names, *self._feed.names}) > MOST_CHANNELS:
            await self._refuse("limit", f"at most {MOST_CHANNELS} channels", names)
            return None
        try:
            return channels_of(names, self._door.keys, self._visit.guest)
        except NotForYou as error:
            await self._refuse("forbidden", "this channel is not for you", [str(error)])
        except InvalidData as error:
            await self._refuse("unknown", str(error), [str(error.value)[:200]])
        return None

    async def _refuse(self, code: str, message: str, channels: Sequence[str]) -> None:
        await self._say(
            {"type": "error", "code": code, "message": message, "channels": [*channels][:10]}
        )

    async def _say(self, message: dict[str, Any]) -> None:
        await self._send(msgspec.json.encode(message).decode())

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._door.rules.stuck):
                await self._websocket.send_text(text)
        except TimeoutError:
            raise Leave(Goodbye.TOO_SLOW, "too slow") from None


def written(frame: Frame) -> str:
    """Write a frame as JSON text."""
    if frame.kind == "gap":
        gap = {"type": "gap", "channels": frame.channels, "dropped": frame.dropped}
        return msgspec.json.encode(gap).decode()
    name = msgspec.json.encode(frame.channels[0]).decode()
    return f'{{"type":"{frame.kind}","channel":{name},"data":{frame.data.decode()}}}'


async def _received(websocket: WebSocket) -> Any:
    """Return the client's next message.

    Raises:
        Leave: It is too long or no message.
        WebSocketDisconnect: The client left.
    """
    event = await websocket.receive()
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code") or 1005)
    text = event.get("text")
    if text is None:
        raise Leave(Goodbye.MALFORMED, "messages are JSON text")
    if len(text) > MOST_CHARACTERS:
        raise Leave(Goodbye.TOO_LARGE, f"at most {MOST_CHARACTERS} characters")
    try:
        return _MESSAGES.decode(text)
    except msgspec.DecodeError:
        raise Leave(
            Goodbye.MALFORMED, "messages are auth, subscribe, unsubscribe or ping"
        ) from None


async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run all until the first ends; then end the others, and raise what the first raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _deny(websocket: WebSocket, status: int, message: str) -> None:
    """Answer the handshake like a page."""
    await websocket.receive()
    await websocket.send_denial_response(PlainTextResponse(message, status))


async def _close(websocket: WebSocket, code: Goodbye, reason: str) -> None:
    # Who takes no byte takes no farewell either, and is simply cut off.
    with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
        async with asyncio.timeout(1):
            await websocket.close(code, reason)
