"""Channels by HTTP, against a real server."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime

import httpx2
import pytest

from domain.clock import new_id, now
from domain.errors import InvalidData
from domain.messaging.channels import Address, Outgoing, TryLater, Undeliverable
from domain.messaging.posting import (
    DiscordChannel,
    SlackChannel,
    WebhookChannel,
    http_client,
    retry_after,
)
from domain.messaging.public_hosts import is_public
from domain.settings import Settings
from tests.messaging.servers import HttpServer, http_server

KEY = "whsec_" + base64.b64encode(b"k" * 24).decode()


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async with http_server() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with http_client(Settings(allow_private_webhooks=True, notification_timeout=2)) as made:
        yield made


@pytest.fixture
async def guarded() -> AsyncIterator[httpx2.AsyncClient]:
    async with http_client(Settings(notification_timeout=2)) as made:
        yield made


def notice(title: str = "AAPL above 190", body: str = "It is 190.25 <now>") -> Outgoing:
    return Outgoing(new_id(), "alert", "warning", title, body, now(), {"price": "190.25"})


async def test_a_webhook_gets_json_that_its_key_signed(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    told = notice()
    await WebhookChannel(client).deliver(told, Address(server.url("/in?x=1"), KEY))
    (request,) = server.requests
    assert request.path == "/in?x=1"
    content = json.loads(request.body)
    assert (content["title"], content["data"]) == ("AAPL above 190", {"price": "190.25"})
    headers = request.headers
    assert headers["webhook-id"] == content["id"] == str(told.id)
    assert abs(int(headers["webhook-timestamp"]) - now().timestamp()) < 60
    signed = f"{told.id}.{headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(b"k" * 24, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_a_webhook_without_a_key_is_not_signed(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    await WebhookChannel(client).deliver(notice(), Address(server.url()))
    assert "webhook-signature" not in server.requests[0].headers


async def test_a_broken_signing_key_is_named_without_being_shown(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    with pytest.raises(InvalidData, match="be whsec_ and base64") as caught:
        await WebhookChannel(client).deliver(notice(), Address(server.url(), "whsec_n0tb64!"))
    assert "n0tb64" not in str(caught.value)


async def test_chats_get_text_that_mentions_nobody(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    await DiscordChannel(client).deliver(notice("@everyone"), Address(server.url()))
    await SlackChannel(client).deliver(notice("<!channel>"), Address(server.url()))
    discord, slack = (json.loads(request.body) for request in server.requests)
    assert discord["content"].startswith("**[warning] @everyone**\n")
    assert discord["allowed_mentions"] == {"parse": []}
    assert slack == {"text": "*[warning] &lt;!channel&gt;*\nIt is 190.25 &lt;now&gt;"}


async def test_chats_are_cut_to_what_they_take(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    await DiscordChannel(client).deliver(notice(body="x" * 5_000), Address(server.url()))
    assert len(json.loads(server.requests[0].body)["content"]) <= 2_000


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 301, 307])
async def test_a_refusal_or_redirect_is_final(
    server: HttpServer, client: httpx2.AsyncClient, status: int
) -> None:
    server.answers = [(status, {"location": server.url("/elsewhere")})]
    with pytest.raises(Undeliverable, match=f"answered {status}"):
        await WebhookChannel(client).deliver(notice(), Address(server.url()))
    assert len(server.requests) == 1, "nothing is followed"


@pytest.mark.parametrize(
    ("status", "header", "pause"),
    [(429, "7", 7), (503, "100000", 3_600), (500, None, None), (502, "soon", None)],
)
async def test_a_busy_receiver_is_asked_later_as_it_says(
    server: HttpServer,
    client: httpx2.AsyncClient,
    status: int,
    header: str | None,
    pause: int | None,
) -> None:
    server.answers = [(status, {"retry-after": header} if header else {})]
    with pytest.raises(TryLater) as caught:
        await WebhookChannel(client).deliver(notice(), Address(server.url()))
    assert caught.value.after == (None if pause is None else timedelta(seconds=pause))


def test_a_date_to_come_back_at_is_understood() -> None:
    pause = retry_after(format_datetime(now() + timedelta(minutes=10)))
    assert pause is not None and timedelta(minutes=9) < pause <= timedelta(minutes=10)
    assert retry_after(format_datetime(now() - timedelta(days=1))) == timedelta(0)
    assert retry_after("nan") is None and retry_after("-5") is None
    assert retry_after("inf") == timedelta(hours=1)


async def test_nobody_there_and_no_answer_are_tried_later(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    server.silent = True
    with pytest.raises(TryLater, match="did not answer in time"):
        await WebhookChannel(client).deliver(notice(), Address(server.url()))
    with pytest.raises(TryLater, match="could not be reached"):
        await WebhookChannel(client).deliver(notice(), Address("http://127.0.0.1:1/"))


@pytest.mark.parametrize("url", ["no url", "https://", "ftp://example.com/x", "http://[::1"])
async def test_what_is_no_url_is_refused(client: httpx2.AsyncClient, url: str) -> None:
    with pytest.raises((Undeliverable, TryLater)):
        await WebhookChannel(client).deliver(notice(), Address(url))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433"]
)
async def test_nothing_reaches_our_own_network(
    server: HttpServer, guarded: httpx2.AsyncClient, host: str
) -> None:
    url = f"https://{host}:{server.port}/x"
    with pytest.raises((Undeliverable, TryLater)):
        await WebhookChannel(guarded).deliver(notice(), Address(url))
    assert server.connections == 0


async def test_private_addresses_are_refused_by_name_of_the_rule(
    server: HttpServer, guarded: httpx2.AsyncClient
) -> None:
    with pytest.raises(Undeliverable, match="public internet"):
        await WebhookChannel(guarded).deliver(notice(), Address(f"https://localhost:{server.port}"))
    with pytest.raises(Undeliverable, match="https"):
        await WebhookChannel(guarded).deliver(notice(), Address("http://93.184.215.14/"))
    assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "127.8.8.8",
        "224.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "::7f00:1",
    ],
)
def test_addresses_that_are_not_of_the_open_internet(address: str) -> None:
    assert not is_public(address)


def test_addresses_of_the_open_internet() -> None:
    assert is_public("8.8.8.8") and is_public("2606:4700::1111") and is_public("::ffff:8.8.8.8")
