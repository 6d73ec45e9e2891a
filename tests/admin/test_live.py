"""Live data for programs and pages: who may hear what, and what becomes of the slow."""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import websockets
from httpx2 import AsyncClient
from playwright.async_api import expect
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from admin.app import create_app
from admin.doors import HouseRules
from domain import Database
from domain.cache.embedded import EmbeddedValkey
from domain.clock import new_id
from domain.identity.api_keys import create_api_key, revoke_api_key
from domain.identity.models import Role, User
from domain.identity.signing_in import close_session
from domain.realtime import Live, Quote, open_live
from domain.realtime.hub import Timing
from domain.settings import Settings
from tests.admin.conftest import token_of
from tests.admin.test_browser import (
    CHROMIUM,
    Watched,
    chromium,
    enrolled,
    log_in,
    served,
)
from tests.factories.identity import make_user

WHEN = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
QUICK = HouseRules(check=0.05, beat=30, login=0.3, stuck=0.5, visits=3)
HASTY = Timing(heartbeat=0.2, connect=0.5, first_pause=0.01, longest_pause=0.1)
TOPIC = "alert_triggered"
BROWSER = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("TRADEKEEP_REQUIRE_BROWSER"),
    reason="chromium was not found; install it to run the browser tests",
)


@dataclass
class House:
    """The application behind a real server, and the publishing side."""

    app: Starlette
    address: str
    db: Database
    live: Live

    @property
    def url(self) -> str:
        return self.address.replace("http", "ws") + "/ws"

    async def key(self, username: str, role: Role = Role.TRADER) -> tuple[User, str]:
        async with self.db.transaction(system="test") as unit:
            user = await unit.users.by_username(username) or await make_user(unit, username, role)
            return user, (await create_api_key(unit, user, f"key {new_id()}"))[1]

    async def quote(self, symbol: str, *prices: int | str) -> None:
        quotes = [
            Quote(symbol, WHEN + timedelta(seconds=number), last=Decimal(price))
            for number, price in enumerate(prices)
        ]
        await self.live.publish_quotes(quotes)


@asynccontextmanager
async def opened(
    database: str, redis: str, prefix: str, rules: HouseRules = QUICK
) -> AsyncIterator[House]:
    settings = Settings(redis_url=redis, cache_prefix=prefix, pool_size=4, pool_overflow=10)  # type: ignore[arg-type]  # pydantic makes it a secret
    app = create_app(settings, url=database, rules=rules)
    async with (
        open_live(url=redis, prefix=prefix) as live,
        Database(database, settings=settings) as db,
        app.router.lifespan_context(app),
        served(app) as address,
    ):
        yield House(app, address, db, live)


@pytest.fixture
async def house(migrated_database: str, redis_url: str, cache_prefix: str) -> AsyncIterator[House]:
    async with opened(migrated_database, redis_url, cache_prefix) as made:
        yield made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def heard(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """Return the next message of one of these kinds; any but signs of life when none is named."""
    async with asyncio.timeout(10):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] in kinds or not (kinds or message["type"] in {"ready", "heartbeat"}):
                return dict(message)


async def closed(socket: ClientConnection) -> int:
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code or 0


async def nothing(socket: ClientConnection, house: House) -> None:
    """See that nothing but the answer to a ping comes."""
    await asyncio.sleep(0.1)
    await socket.send('{"type":"ping"}')
    assert (await heard(socket))["type"] == "pong"
    del house


async def test_a_snapshot_comes_first_and_then_every_change(house: House) -> None:
    _, key = await house.key("ada")
    await house.quote("AAPL", "187.30")
    url = f"{house.url}?channels=quotes:AAPL,quotes:MSFT"
    async with connect(url, additional_headers=bearer(key)) as socket:
        assert await heard(socket) == {
            "type": "subscribed",
            "channels": ["quotes:AAPL", "quotes:MSFT"],
        }
        first = {
            message["channel"]: message for message in [await heard(socket), await heard(socket)]
        }
        assert first["quotes:AAPL"]["type"] == "snapshot"
        assert first["quotes:AAPL"]["data"]["last"] == "187.30"
        assert first["quotes:MSFT"] == {
            "type": "snapshot", "channel": "quotes:MSFT", "data": None
        }  # fmt: skip
        await house.quote("MSFT", "410.5")
        assert await heard(socket) == {
            "type": "update",
            "channel": "quotes:MSFT",
            "data": {"symbol": "MSFT", "time": "2026-03-02T15:30:00Z", "last": "410.5"},
        }


async def test_channels_are_added_and_left_by_message(house: House) -> None:
    _, key = await house.key("ada")
    async with connect(house.url, additional_headers=bearer(key)) as socket:
        await socket.send('{"type":"subscribe","channels":["quotes:A","quotes:B"]}')
        for _ in range(2):
            await heard(socket, "snapshot")
        await socket.send('{"type":"unsubscribe","channels":["quotes:A","quotes:never"]}')
        assert (await heard(socket))["channels"] == ["quotes:A"]
        await house.quote("A", 1)
        await house.quote("B", 2)
        assert (await heard(socket))["channel"] == "quotes:B"


async def test_a_token_may_be_the_first_message(house: House) -> None:
    _, key = await house.key("ada")
    session = await token_of(house.db, "boss", Role.ADMIN)
    for token in (key, session):
        async with connect(f"{house.url}?channels=quotes:A") as socket:
            await socket.send(json.dumps({"type": "auth", "token": token}))
            assert (await heard(socket, "snapshot"))["channel"] == "quotes:A"


@pytest.mark.parametrize(
    "first", ['{"type":"auth","token":"tk_wrong"}', '{"type":"auth","token":"wrong"}',
              '{"type":"subscribe","channels":["quotes:A"]}', None]
)  # fmt: skip
async def test_who_shows_nothing_valid_is_sent_away(house: House, first: str | None) -> None:
    async with connect(house.url) as socket:
        if first is not None:
            await socket.send(first)
        assert await closed(socket) == 4401


@pytest.mark.parametrize(
    "headers",
    [
        bearer("tk_wrong"), bearer(""), {"Authorization": "Basic YTpi"},
    ],
)  # fmt: skip
async def test_a_wrong_key_is_refused_before_the_socket_opens(
    house: House, headers: dict[str, str]
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(house.url, additional_headers=headers)
    assert caught.value.response.status_code == 401


async def test_a_token_in_the_address_opens_nothing(house: House) -> None:
    _, key = await house.key("ada")
    async with connect(f"{house.url}?token={key}&access_token={key}") as socket:
        assert await closed(socket) == 4401


async def test_a_page_of_another_site_is_turned_away_even_with_the_cookie(house: House) -> None:
    session = await token_of(house.db, "boss", Role.ADMIN)
    cookie = {"Cookie": f"tradekeep={session}"}
    for origin in ("https://evil.example", "null", house.address.replace("127.0.0.1", "evil")):
        with pytest.raises(InvalidStatus) as caught:
            await connect(house.url, additional_headers=cookie, origin=websockets.Origin(origin))
        assert caught.value.response.status_code == 403
    own = websockets.Origin(house.address)
    async with connect(
        f"{house.url}?channels=quotes:A", additional_headers=cookie, origin=own
    ) as socket:
        assert (await heard(socket, "snapshot"))["channel"] == "quotes:A"
    async with connect(house.url, additional_headers=cookie) as socket:
        assert await closed(socket) == 4401, "a cookie without an origin is no browser's"


async def test_a_strange_host_is_refused(house: House) -> None:
    with pytest.raises(InvalidStatus):
        await connect(house.url, additional_headers={"Host": "evil.example"})


async def test_tenants_hear_their_own_events_and_never_each_others(house: House) -> None:
    ada, ada_key = await house.key("ada")
    eve, eve_key = await house.key("eve")
    url = f"{house.url}?channels=events:{TOPIC}"
    async with (
        connect(url, additional_headers=bearer(ada_key)) as hers,
        connect(url, additional_headers=bearer(eve_key)) as other,
    ):
        for socket in (hers, other):
            await heard(socket, "subscribed")
            await socket.send('{"type":"ping"}')
            await heard(socket, "pong")
        for channel in (f"events:{TOPIC}:{ada.id}", f"staff:{TOPIC}"):
            await other.send(json.dumps({"type": "subscribe", "channels": ["quotes:A", channel]}))
            refusal = await heard(other)
            assert (refusal["code"], refusal["channels"]) == ("forbidden", [channel])
        await house.live.broadcaster.broadcast(TOPIC, ada.id, {"type": TOPIC}, new_id())
        event = await heard(hers)
        assert (event["channel"], event["data"]["data"]) == (f"events:{TOPIC}", {"type": TOPIC})
        await nothing(other, house)
        await house.live.broadcaster.broadcast(TOPIC, None, {"to": "all"}, new_id())
        assert (await heard(other))["data"]["data"] == {"to": "all"}
        await other.send(
            json.dumps({"type": "subscribe", "channels": [f"events:{TOPIC}:{eve.id}"]})
        )
        assert (await heard(other, "subscribed", "error"))["type"] == "subscribed"


async def test_staff_choose_whom_they_watch(house: House) -> None:
    ada, _ = await house.key("ada")
    eve, _ = await house.key("eve")
    _, key = await house.key("boss", Role.ANALYST)
    url = f"{house.url}?channels=events:{TOPIC}:{ada.id},staff:{TOPIC}"
    async with connect(url, additional_headers=bearer(key)) as socket:
        await heard(socket, "subscribed")
        await nothing(socket, house)
        await house.live.broadcaster.broadcast(TOPIC, eve.id, {"n": 1}, "1")
        await house.live.broadcaster.broadcast(TOPIC, ada.id, {"n": 2}, "2")
        seen = {
            (item["channel"], item["data"]["event_id"])
            for item in [await heard(socket) for _ in range(3)]
        }
        assert seen == {
            (f"staff:{TOPIC}", "1"), (f"staff:{TOPIC}", "2"), (f"events:{TOPIC}:{ada.id}", "2")
        }  # fmt: skip


async def test_what_is_no_channel_is_refused_and_the_socket_stays(house: House) -> None:
    _, key = await house.key("boss", Role.ADMIN)
    wrong = ("nothing", "quotes:", "events:", "events:UP", f"events:{TOPIC}:x", f"staff:{TOPIC}:x")
    async with connect(house.url, additional_headers=bearer(key)) as socket:
        for name in wrong:
            await socket.send(json.dumps({"type": "subscribe", "channels": [name]}))
            refusal = await heard(socket)
            assert (refusal["type"], refusal["code"]) == ("error", "unknown"), name
            assert "must be quotes:SYMBOL" in refusal["message"]
        await nothing(socket, house)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 4400),
        ('{"type":"shout"}', 4400),
        ('{"type":"subscribe"}', 4400),
        ('{"type":"subscribe","channels":[1]}', 4400),
        (b"\x00", 4400),
        ('{"type":"ping","x":"' + "x" * 9_000 + '"}', 1009),
    ],
)
async def test_a_malformed_or_huge_message_ends_the_connection(
    house: House, text: str | bytes, code: int
) -> None:
    _, key = await house.key("ada")
    async with connect(house.url, additional_headers=bearer(key)) as socket:
        await socket.send(text)
        assert await closed(socket) == code


async def test_channels_connections_and_messages_are_limited(house: House) -> None:
    _, key = await house.key("ada")
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connect(house.url, additional_headers=bearer(key)))
            for _ in range(3)
        ]
        for socket in sockets:
            await nothing(socket, house)
        extra = await stack.enter_async_context(connect(house.url, additional_headers=bearer(key)))
        assert await closed(extra) == 4429
        names = [f"quotes:S{number}" for number in range(101)]
        await sockets[0].send(json.dumps({"type": "subscribe", "channels": names}))
        assert (await heard(sockets[0]))["code"] == "limit"
        for _ in range(101):
            await sockets[0].send('{"type":"ping"}')
        assert await closed(sockets[0]) == 4429
        await nothing(sockets[1], house)


async def test_a_revoked_key_a_closed_session_and_a_locked_user_end_their_connections(
    house: House,
) -> None:
    ada, ada_key = await house.key("ada")
    eve, eve_key = await house.key("eve")
    token = await token_of(house.db, "boss", Role.ADMIN)
    async with (
        connect(house.url, additional_headers=bearer(ada_key)) as hers,
        connect(house.url, additional_headers=bearer(eve_key)) as other,
        connect(house.url) as staff,
    ):
        await staff.send(json.dumps({"type": "auth", "token": token}))
        for socket in (hers, other, staff):
            await nothing(socket, house)
        async with house.db.transaction(system="test") as unit:
            for key in await unit.api_keys.all():
                if key.user_id == ada.id:
                    await revoke_api_key(unit, key)
            await close_session(unit, token, reason="test")
        assert await closed(hers) == await closed(staff) == 4401
        await nothing(other, house)
        async with house.db.transaction(system="test") as unit:
            (await unit.users.get(eve.id)).is_active = False
        assert await closed(other) == 4401


async def test_a_hundred_sockets_are_one_connection_and_a_slow_one_delays_nobody(
    migrated_database: str, redis_server: EmbeddedValkey
) -> None:
    rules = HouseRules(visits=200, stuck=30)
    async with opened(migrated_database, redis_server.url, "t", rules) as house:
        _, key = await house.key("ada")
        url, headers = f"{house.url}?channels=quotes:AAPL", bearer(key)
        async with contextlib.AsyncExitStack() as stack:
            flooded = f"{url},events:flood"
            slow = await stack.enter_async_context(
                connect(flooded, additional_headers=headers, max_queue=1, compression=None)
            )
            await heard(slow, "snapshot")
            slow.transport.pause_reading()
            sockets = [
                await stack.enter_async_context(
                    connect(url, additional_headers=headers, compression=None)
                )
                for _ in range(99)
            ]
            for socket in sockets:
                await heard(socket, "snapshot")
            assert house.live.client is not None
            listed: Any = await house.live.client.client_list(_type="pubsub")
            assert [client["sub"] for client in listed] == ["3"]

            async def drain(socket: ClientConnection) -> None:
                while (await heard(socket, "update"))["data"].get("last") != "777":
                    pass

            draining = [asyncio.create_task(drain(socket)) for socket in sockets]
            payload = json.dumps({"text": "x" * 60_000}).encode()
            for number in range(200):
                await house.live.broadcaster.broadcast("flood", None, payload, str(number))
                await house.quote("AAPL", number)
            await house.live.publish_quotes(
                [Quote("AAPL", WHEN + timedelta(days=1), last=Decimal(777))]
            )
            async with asyncio.timeout(60):
                await asyncio.gather(*draining)
            slow.transport.resume_reading()
            seen = []
            while not seen or seen[-1] != "777":
                update = await heard(slow, "update")
                if update["channel"] == "quotes:AAPL":
                    seen.append(update["data"]["last"])
            assert len(seen) < 190, "quotes were conflated for the slow one"
            slow.transport.abort()


async def test_who_takes_nothing_for_too_long_is_cut_off(house: House) -> None:
    _, key = await house.key("ada")
    url = f"{house.url}?channels=events:flood"
    async with connect(url, additional_headers=bearer(key), max_queue=1, compression=None) as slow:
        await heard(slow, "subscribed")
        slow.transport.pause_reading()
        payload = json.dumps({"text": "x" * 50_000}).encode()
        doors = house.app.state.site.events._door
        async with asyncio.timeout(20):
            while doors.visits:
                await house.live.broadcaster.broadcast("flood", None, payload, "n")
                await asyncio.sleep(0)
        slow.transport.resume_reading()
        assert await closed(slow) in {1013, 1006}


async def test_a_redis_that_dies_becomes_a_gap_and_a_new_snapshot(
    migrated_database: str, redis_server: EmbeddedValkey
) -> None:
    async with opened(migrated_database, redis_server.url, "t") as house:
        _, key = await house.key("ada")
        url = f"{house.url}?channels=quotes:A,events:news"
        async with connect(url, additional_headers=bearer(key)) as socket:
            await heard(socket, "snapshot")
            os.kill(redis_server.pid, signal.SIGKILL)
            redis_server.start()
            await house.quote("A", "5")
            seen: set[str] = set()
            while seen < {"quotes:A", "events:news"}:
                seen |= set((await heard(socket, "gap"))["channels"])
            async with asyncio.timeout(10):
                while (await heard(socket, "snapshot"))["data"] is None:
                    await house.quote("A", "5")
            await house.live.broadcaster.broadcast("news", None, {"n": 1}, "1")
            event = await heard(socket, "update")
            while event["channel"] != "events:news":
                event = await heard(socket, "update")
            assert event["data"]["data"] == {"n": 1}


async def test_a_client_never_sees_a_price_go_back(house: House) -> None:
    """Snapshots are read while quotes flow: what waited meanwhile is older and is left out."""
    _, key = await house.key("ada")
    stop = asyncio.Event()

    async def flow() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            time = WHEN + timedelta(seconds=number)
            await house.live.publish_quotes([Quote("A", time, last=Decimal(number))])

    async with asyncio.TaskGroup() as group:
        group.create_task(flow())
        for _ in range(8):
            url = f"{house.url}?channels=quotes:A"
            async with connect(url, additional_headers=bearer(key)) as socket:
                seen = [await heard(socket, "snapshot", "update") for _ in range(15)]
                assert [item["type"] for item in seen] == ["snapshot"] + ["update"] * 14
                prices = [int(item["data"]["last"]) for item in seen if item["data"]]
                assert prices == sorted(prices)
        stop.set()


async def test_a_stop_says_goodbye(
    migrated_database: str, redis_url: str, cache_prefix: str
) -> None:
    before = asyncio.all_tasks()
    async with opened(migrated_database, redis_url, cache_prefix) as house:
        _, key = await house.key("ada")
        socket = await connect(house.url, additional_headers=bearer(key))
        await nothing(socket, house)
        await house.app.state.site.events._door.dismiss()
        assert await closed(socket) == 1001
        late = await connect(house.url, additional_headers=bearer(key))
        assert await closed(late) == 1001
    assert asyncio.all_tasks() == before


async def lines(response: Any, ending: str) -> str:
    """Read an event stream until it holds `ending`."""
    text = ""
    async with asyncio.timeout(10):
        while ending not in text:
            text += await anext(response)
    return text


@asynccontextmanager
async def streaming(
    house: House, channels: str, token: str, **headers: str
) -> AsyncIterator[tuple[Any, Any]]:
    async with (
        AsyncClient(base_url=house.address, cookies={"tradekeep": token}) as client,
        client.stream("GET", f"/admin/live?channels={channels}", headers=headers) as response,
    ):
        yield response, response.aiter_text()


async def test_pages_hear_events_as_they_happen_and_uncompressed(house: House) -> None:
    token = await token_of(house.db, "boss", Role.ADMIN)
    await house.quote("AAPL", "187.30")
    channels = f"quotes:AAPL,staff:{TOPIC}"
    async with streaming(house, channels, token, **{"Accept-Encoding": "gzip"}) as (response, text):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        assert (response.headers["cache-control"], response.status_code) == ("no-store", 200)
        first = await lines(text, '"187.30"')
        assert first.startswith("retry: 3000\n\nid: 1\nevent: snapshot\n")
        assert "event: gap" not in first
        await house.live.broadcaster.broadcast(TOPIC, None, {"n": 1}, "e-1")
        assert "event: update" in await lines(text, '"event_id":"e-1"')
    async with streaming(house, channels, token, **{"Last-Event-ID": "1"}) as (_, text):
        again = await lines(text, '"187.30"')
        assert again.index("event: gap") < again.index("event: snapshot")


async def test_a_silent_stream_shows_that_it_lives_and_ends_with_its_session(
    migrated_database: str, redis_url: str, cache_prefix: str
) -> None:
    rules = HouseRules(check=0.2, beat=0.05)
    async with opened(migrated_database, redis_url, cache_prefix, rules) as house:
        token = await token_of(house.db, "boss", Role.ADMIN)
        async with streaming(house, "events:news", token) as (_, text):
            await lines(text, ": beat\n\n: beat\n\n")
            async with house.db.transaction(system="test") as unit:
                await close_session(unit, token, reason="test")
            async with asyncio.timeout(10):
                assert "event" not in "".join([part async for part in text])
        assert house.app.state.site.events._door.visits == []


@pytest.mark.parametrize(
    ("channels", "status"),
    [("", 400), ("nothing", 400), (",".join(f"quotes:S{n}" for n in range(101)), 400)],
)
async def test_a_stream_of_no_channel_is_refused(house: House, channels: str, status: int) -> None:
    token = await token_of(house.db, "boss", Role.ADMIN)
    async with streaming(house, channels, token) as (response, _):
        assert response.status_code == status


async def test_a_stream_needs_a_session(house: House) -> None:
    async with streaming(house, "quotes:A", "wrong") as (response, _):
        assert response.status_code == 303
        assert response.headers["location"].startswith("/admin/login")


@pytest.mark.browser
@BROWSER
async def test_a_browser_shows_live_prices_and_new_alerts(
    migrated_database: str, redis_server: EmbeddedValkey
) -> None:
    async with (
        opened(migrated_database, redis_server.url, "t") as house,
        chromium() as browser,
    ):
        await enrolled(house.db)
        watched = Watched(await browser.new_page(), house.address)
        page = watched.page
        await log_in(watched)
        cell = page.locator("[data-live=AAPL]").first
        badge = page.locator("[data-live-alerts]")
        await expect(cell).not_to_have_class(re.compile("live"))
        await expect(badge).to_be_hidden()
        await house.quote("AAPL", "199.99")
        await expect(cell).to_have_text("199.99")
        await expect(cell).to_have_class(re.compile("live"))
        for event_id in ("1", "1", "2"):
            await house.live.broadcaster.broadcast(TOPIC, None, {"type": TOPIC}, event_id)
        await expect(badge).to_have_text("2 new alerts")
        assert house.live.client is not None
        await house.live.client.delete(house.live.keys.latest_price("AAPL"))
        await house.live.client.client_kill_filter(_type="pubsub")
        await expect(cell).to_have_class(re.compile("lost"))
        await house.quote("AAPL", "200.01")
        await expect(cell).to_have_text("200.01")
        await expect(cell).not_to_have_class(re.compile("lost"))

        own = await page.evaluate(
            """async () => {
              const socket = new WebSocket(`ws://${location.host}/ws?channels=quotes:AAPL`);
              return new Promise((done) => {
                socket.onmessage = ({ data }) => {
                  const message = JSON.parse(data);
                  if (message.type === "snapshot") done(message.data.last);
                };
              });
            }"""
        )
        assert own == "200.01", "the cookie opens a socket of the page's own site"
        assert (watched.complaints, watched.outside) == ([], [])
