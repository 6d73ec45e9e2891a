"""A quote keeps its rules on the way out and on the way in."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidData
from domain.realtime import Live, Quote, checked_quote, open_live
from domain.realtime.quotes import decode_quote, encode_quote

WHEN = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
PRICES = st.decimals(-(10**9), 10**9, places=6, allow_nan=False)


@given(
    bid=PRICES,
    spread=st.decimals(0, 1_000, places=8, allow_nan=False),
    last=st.none() | PRICES,
    volume=st.none() | st.integers(0, 10**12).map(Decimal),
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])),
)
def test_what_is_written_is_read_again_digit_for_digit(
    bid: Decimal, spread: Decimal, last: Decimal | None, volume: Decimal | None, time: datetime
) -> None:
    if not datetime.min.replace(tzinfo=UTC) + timedelta(days=1) < time:
        return
    if not time < datetime.max.replace(tzinfo=UTC) - timedelta(days=1):
        return
    quote = checked_quote(Quote("BRK.B", time, bid=bid, ask=bid + spread, last=last, volume=volume))
    assert decode_quote(encode_quote(quote)) == quote
    written = json.loads(encode_quote(quote))
    assert Decimal(written["bid"]) == bid
    assert all(isinstance(value, str) for value in written.values())
    assert ("last" in written) == (last is not None)
    assert quote.time.tzinfo is UTC
    assert bid <= quote.price <= bid + spread or last is not None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"last": 187.3}, "last must be a Decimal or an int, never a float"),
        ({"bid": Decimal("NaN")}, "bid must be a finite number"),
        ({"ask": Decimal("Infinity")}, "ask must be a finite number"),
        ({"bid": Decimal("187.33")}, "bid must not lie above the ask, 187.32"),
        ({"time": WHEN.replace(tzinfo=None)}, "time must carry a time zone"),
        ({"time": "2026-03-02"}, "time must be a datetime"),
        ({"symbol": ""}, "symbol must be 1 to 100 characters"),
        ({"symbol": None}, "symbol must be 1 to 100 characters"),
        ({"volume": Decimal(-1)}, "volume must not be negative"),
        ({"bid_size": True}, "bid_size must be a Decimal or an int"),
        ({"bid": None, "ask": None, "last": None}, "last must be known"),
        ({"last": Decimal("1e20")}, "last must be smaller than 10"),
    ],
)
def test_a_bad_quote_is_refused_by_field_and_rule(changes: dict[str, Any], rule: str) -> None:
    good = {"symbol": "AAPL", "time": WHEN, "bid": Decimal("187.30"), "ask": Decimal("187.32")}
    with pytest.raises(InvalidData) as caught:
        checked_quote(Quote(**(good | changes)))
    assert rule in str(caught.value)


def test_a_price_is_the_last_trade_or_lies_between_bid_and_ask() -> None:
    bid, ask, last = Decimal("1.10"), Decimal("1.13"), Decimal("1.125")
    assert Quote("X", WHEN, bid=bid, ask=ask, last=last).price == last
    assert Quote("X", WHEN, bid=bid, ask=ask).price == Decimal("1.115")
    assert Quote("X", WHEN, ask=ask).price == ask


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"symbol":"A","time":"2026-01-01T00:00:00","last":"1"}', b"\xff",
             b'{"symbol":"A","time":"2026-01-01T00:00:00Z","last":"NaN"}']
)  # fmt: skip
def test_what_is_no_quote_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidData):
        decode_quote(data)


@pytest.mark.parametrize("kind", ["redis", "memory"])
async def test_the_newest_quote_stays_for_a_while(
    kind: str, redis_url: str, cache_prefix: str
) -> None:
    url = redis_url if kind == "redis" else "memory://"
    async with open_live(url=url, prefix=cache_prefix) as live:
        quotes = [checked_quote(Quote("AAPL", WHEN, last=Decimal(price))) for price in (187, 188)]
        await live.publish_quotes([*quotes, Quote("MSFT", WHEN, last=Decimal(1))])
        found = await live.quotes(["AAPL", "MSFT", "TSLA"])
        assert found == {"AAPL": quotes[1], "MSFT": Quote("MSFT", WHEN, last=Decimal(1))}
        await check_expiry(live)


async def check_expiry(live: Live) -> None:
    if live.client is not None:
        assert 0 < await live.client.ttl(live.keys.latest_price("AAPL")) <= 10
    assert await live.quotes([]) == {}
