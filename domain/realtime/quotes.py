"""A quote as it travels: what it holds, which rules it keeps, how it is written.

What is done with quotes, where they come from and where they are kept: `domain.market.streaming`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from domain.clock import as_utc
from domain.errors import InvalidData
from domain.money import checked, exact, quantized

_LONGEST_SYMBOL: Final = 100
_PRICES: Final = ("bid", "ask", "last")
_AMOUNTS: Final = ("bid_size", "ask_size", "volume")


class Quote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a market said about one symbol at one instant. Make it with `checked_quote`.

    In JSON, numbers are strings, the time is ISO 8601 in UTC, and what is unknown is left out.

    Args:
        symbol: The instrument's symbol.
        time: When the market said it, aware UTC.
        bid: Best bid, quote currency a unit.
        ask: Best ask, quote currency a unit.
        last: Last trade, quote currency a unit.
        bid_size: Units wanted at the best bid.
        ask_size: Units offered at the best ask.
        volume: Units traded so far in the session, or in the bar that is replayed.
    """

    symbol: str
    time: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    bid_size: Decimal | None = None
    ask_size: Decimal | None = None
    volume: Decimal | None = None

    @property
    def price(self) -> Decimal:
        """The last trade; without one the middle of bid and ask, or the only one of the two."""
        if self.last is not None:
            return self.last
        sides = [side for side in (self.bid, self.ask) if side is not None]
        with exact():
            return quantized(sum(sides, Decimal(0)) / len(sides))


def checked_quote(quote: Quote) -> Quote:
    """Return `quote` with its time in UTC.

    Raises:
        InvalidData: It has no price or no symbol, a float or NaN, a negative size, a bid above
            its ask, or a naive time.

    Example:
        >>> from datetime import UTC, datetime
        >>> when = datetime(2026, 1, 2, 15, tzinfo=UTC)
        >>> checked_quote(Quote("AAPL", when, bid=Decimal("187.30"), ask=Decimal("187.32"))).price
        Decimal('187.31')
    """
    symbol: Any = quote.symbol
    if not isinstance(symbol, str) or not 1 <= len(symbol) <= _LONGEST_SYMBOL:
        raise InvalidData("symbol", symbol, f"be 1 to {_LONGEST_SYMBOL} characters")
    for name in (*_PRICES, *_AMOUNTS):
        if (value := getattr(quote, name)) is not None:
            checked(value, name)
    for name in _AMOUNTS:
        if (getattr(quote, name) or 0) < 0:
            raise InvalidData(name, str(getattr(quote, name)), "not be negative")
    if all(getattr(quote, name) is None for name in _PRICES):
        raise InvalidData("last", None, "be known unless bid or ask is")
    if quote.bid is not None and quote.ask is not None and quote.bid > quote.ask:
        raise InvalidData("bid", str(quote.bid), f"not lie above the ask, {quote.ask}")
    return msgspec.structs.replace(quote, time=as_utc(quote.time))


_ENCODER: Final = msgspec.json.Encoder(decimal_format="string")
_DECODER: Final = msgspec.json.Decoder(Quote)


def encode_quote(quote: Quote) -> bytes:
    """Write a quote as JSON.

    Example:
        >>> from datetime import UTC, datetime
        >>> encode_quote(Quote("AAPL", datetime(2026, 1, 2, tzinfo=UTC), last=Decimal("187.30")))
        b'{"symbol":"AAPL","time":"2026-01-02T00:00:00Z","last":"187.30"}'
    """
    return _ENCODER.encode(quote)


def decode_quote(data: bytes | str) -> Quote:
    """Read a quote from JSON.

    Raises:
        InvalidData: It is not one.
    """
    try:
        return checked_quote(_DECODER.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidData("quote", data, f"be a quote in JSON: {error}") from None
