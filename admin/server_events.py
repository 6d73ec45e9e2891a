"""Server-Sent Events at ``/admin/live``: what the admin's own pages listen to.

One way, over plain HTTP, connected again by the browser itself. What was missed in between cannot
be told again, so a request with ``Last-Event-ID`` begins with a ``gap``, and then, like every
other, with snapshots.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from admin.channels import MOST_CHANNELS, Channel, NotForYou, channels_of, listed
from admin.doors import Doorkeeper, Guest, Visit
from admin.feeding import MOST_WAITING, Feed, Frame

_RETRY: Final = 3_000
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventStream(StreamingResponse):
    """A response whose generator ends with it, and not when memory is cleaned up."""

    async def stream_response(self, send: Send) -> None:
        """Send what the generator gives."""
        assert isinstance(self.body_iterator, AsyncGenerator)  # noqa: S101 - made with one
        async with aclosing(self.body_iterator):
            await super().stream_response(send)


class ServerEvents:
    """Answers at ``/admin/live``.

    Args:
        door: Knows the guests.
    """

    def __init__(self, door: Doorkeeper) -> None:
        self._door = door

    async def stream(self, request: Request) -> Response:
        """Stream the channels of the query until the session ends.

        Raises:
            HTTPException: 400 for what is no channel, 403 for somebody else's, 429 when this user
                has too many connections.
        """
        guest = await self._door.by_cookie(request.cookies)
        if guest is None:
            # 204 tells a browser not to come again.
            return Response(status_code=204)
        channels = self._channels(request, guest)
        is_again = "last-event-id" in request.headers
        with self._door.admitted(guest) as probe:
            if probe is None:
                raise HTTPException(429, "Too many pages listen already.")
        events = self._events(guest, channels, is_again=is_again)
        return EventStream(events, media_type="text/event-stream", headers=_HEADERS)

    def _channels(self, request: Request, guest: Guest) -> list[Channel]:
        names = listed(request.query_params.get("channels", ""))
        if not 1 <= len(names) <= MOST_CHANNELS:
            raise HTTPException(400, f"Name 1 to {MOST_CHANNELS} channels.")
        try:
            return channels_of(names, self._door.keys, guest)
        except NotForYou:
            raise HTTPException(403, "This channel is not for you.") from None

    async def _events(
        self, guest: Guest, channels: list[Channel], *, is_again: bool
    ) -> AsyncGenerator[str, None]:
        yield f"retry: {_RETRY}\n\n"
        with self._door.admitted(guest) as visit:
            if visit is None:
                return
            live = self._door.live
            async with await live.hub.subscribe(limit=MOST_WAITING) as subscription:
                feed = Feed(live, subscription)
                await feed.add(channels)
                if is_again:
                    yield _written(0, Frame("gap", tuple(feed.names)))
                async with aclosing(self._told(feed, visit)) as told:
                    async for text in told:
                        yield text

    async def _told(self, feed: Feed, visit: Visit) -> AsyncGenerator[str, None]:
        """Give events, and a comment when there was none for a while, until the visit ends."""
        frames, number = feed.frames(), 0
        ended = asyncio.ensure_future(visit.ended.wait())
        coming: asyncio.Future[Frame] | None = None
        try:
            while not ended.done():
                coming = coming or asyncio.ensure_future(anext(frames))
                done, _ = await asyncio.wait(
                    (coming, ended),
                    timeout=self._door.rules.beat,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if coming in done:
                    number += 1
                    yield _written(number, coming.result())
                    coming = None
                elif not done:
                    yield ": beat\n\n"
        except StopAsyncIteration:
            return
        finally:
            ended.cancel()
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


def _written(number: int, frame: Frame) -> str:
    """Write a frame as an event; its data is one line, because JSON has no bare line feed."""
    name = msgspec.json.encode(frame.channels if frame.kind == "gap" else frame.channels[0])
    if frame.kind == "gap":
        data = f'{{"channels":{name.decode()},"dropped":{frame.dropped}}}'
    else:
        data = f'{{"channel":{name.decode()},"data":{frame.data.decode()}}}'
    return f"id: {number}\nevent: {frame.kind}\ndata: {data}\n\n"
