"""Reads nof0's files into records; pure. A file that breaks a rule is refused before anything else.

Every file is optional. Known names: ``models``, ``crypto-prices``, ``trades``, ``positions``,
``account-totals``, ``since-inception-values``, ``analytics``, ``analytics-…`` and
``conversations``, each ``.json``. ``leaderboard`` is not read: ours is computed.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from domain.agents.conversing import NewMessage
from domain.agents.models import MessageRole
from domain.agents.nof0.fields import Fields
from domain.agents.nof0.records import (
    Analysis,
    Archive,
    Entry,
    Inception,
    Model,
    OpenPosition,
    Price,
    RoundTrip,
    Talk,
    Total,
)
from domain.db.exact_json import loads
from domain.money import checked, exact
from domain.trading.terms import Side

_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,89}", re.ASCII)
_SIDES: Final = {"long": Side.BUY, "short": Side.SELL}
_CENT: Final = Decimal("0.01")
_MILLIONTH: Final = Decimal("0.000001")
_ZERO: Final = Decimal(0)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the JSON files of a folder, by name. Blocks: call it outside the event loop."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}


def read(files: Mapping[str, bytes]) -> Archive:
    """Return what `files` say.

    Args:
        files: Contents by name, as `read_folder` returns them.

    Raises:
        InvalidData: A file is no JSON or breaks a rule; the error names file, path, value and
            rule.
    """
    archive = Archive()
    for name, content in files.items():
        parse = _PARSERS.get("analytics.json" if name.startswith("analytics-") else name)
        if parse is None:
            archive.ignored.append(name)
        else:
            parse(archive, Fields(loads(content, name=name), f"{name}:"))
    _drop_closed(archive)
    return archive


def _named(archive: Archive, item: Fields, name: str = "model_id") -> str:
    slug = item.text(name)
    if not _SLUG.fullmatch(slug):
        raise item.refuse(
            name, "be letters, digits and . _ : / @ -, beginning with one of the first"
        )
    archive.models.setdefault(slug, Model(slug=slug, display_name=slug))
    return slug


def _models(archive: Archive, file: Fields) -> None:
    for item in file.items("models"):
        slug = _named(archive, item, "id")
        if item.has("display_name"):
            archive.models[slug] = Model(slug=slug, display_name=item.text("display_name"))


def _prices(archive: Archive, file: Fields) -> None:
    for symbol, item in file.members("prices"):
        found = _symbol(item)
        if found != symbol:
            raise item.refuse("symbol", f"be {symbol}, the name it stands under")
        time = item.time("timestamp", "timestamp_ms", "ts_ms")
        archive.prices.append(Price(symbol=found, price=item.number("price"), time=time))


def _symbol(item: Fields) -> str:
    symbol = item.text("symbol")
    if len(symbol) > 64 or symbol != symbol.strip():  # noqa: PLR2004 - as instruments have it
        raise item.refuse("symbol", "be 1 to 64 characters without spaces around them")
    return symbol


def _trades(archive: Archive, file: Fields) -> None:
    seen = set()
    for item in file.items("trades"):
        trip = _trip(archive, item)
        if trip.id in seen:
            raise item.refuse("id", "occur once in the file")
        seen.add(trip.id)
        archive.trips.append(trip)


def _trip(archive: Archive, item: Fields) -> RoundTrip:
    identity = item.text("id")
    if "|" in identity:
        raise item.refuse("id", "have no |")
    entry = _entry(item, _named(archive, item))
    closed_at, price = item.time("exit_time", "exit_ts_ms"), item.number("exit_price")
    if closed_at < entry.time:
        raise item.refuse(item.one_of("exit_time", "exit_ts_ms"), "not lie before the entry")
    commission = _exit_commission(item, entry)
    gross = _gross(item, entry, price)
    with exact():
        net = gross - entry.commission - commission
    return RoundTrip(
        id=identity,
        entry=entry,
        price=price,
        time=closed_at,
        commission=commission,
        oid=item.name_of("exit_oid"),
        gross=gross,
        net=item.number("realized_net_pnl") if item.has("realized_net_pnl") else net,
    )


def _exit_commission(item: Fields, entry: Entry) -> Decimal:
    """Return what is left of the total; the total is what the seed's table keeps."""
    total = item.optional("total_commission_dollars")
    if total is None:
        return item.optional("exit_commission_dollars") or _ZERO
    with exact():
        return checked(total - entry.commission, item.path("total_commission_dollars"))


def _gross(item: Fields, entry: Entry, price: Decimal) -> Decimal:
    """Return the profit that the file states, if its own prices lead there."""
    with exact():
        rise = (price - entry.price) * entry.quantity
        computed = rise if entry.side is Side.BUY else -rise
        tolerance = _CENT + _MILLIONTH * entry.price * entry.quantity
        stated = item.optional("realized_gross_pnl")
        if stated is None:
            return checked(round(computed, 18), item.path("realized_gross_pnl"))
        if abs(stated - computed) > abs(tolerance):
            raise item.refuse(
                "realized_gross_pnl",
                f"be quantity x (exit_price - entry_price), about {computed:.2f}",
            )
        return stated


def _entry(item: Fields, model: str) -> Entry:
    side, quantity = _direction(item)
    return Entry(
        model=model,
        symbol=_symbol(item),
        side=side,
        quantity=quantity,
        price=item.positive("entry_price"),
        time=item.time("entry_time", "entry_ts_ms"),
        commission=item.optional(item.one_of("entry_commission_dollars", "commission")) or _ZERO,
        oid=item.name_of("entry_oid"),
        leverage=item.optional("leverage"),
        confidence=item.share("confidence"),
        raw=item.raw(),
    )


def _direction(item: Fields) -> tuple[Side, Decimal]:
    """Return side and size; a negative quantity is a short one, with or without a side."""
    quantity = item.number("quantity")
    if not quantity:
        raise item.refuse("quantity", "not be zero")
    if not item.has("side"):
        return (Side.BUY if quantity > 0 else Side.SELL), abs(quantity)
    side = _SIDES.get(item.text("side"))
    if side is None:
        raise item.refuse("side", "be long or short")
    if side is Side.BUY and quantity < 0:
        raise item.refuse("quantity", "be positive for a long trade")
    return side, abs(quantity)


def _positions(archive: Archive, file: Fields) -> None:
    for account in file.items("accountTotals"):
        model = _named(archive, account)
        held = archive.positions.setdefault(model, [])
        for _, item in account.members("positions"):
            if item.values.get("status") != "closed":
                held.append(_position(item, model))


def _position(item: Fields, model: str) -> OpenPosition:
    entry = _entry(item, model)
    if entry.oid is None:
        raise item.refuse("entry_oid", "name the order that opened the position")
    return OpenPosition(
        entry=entry,
        current_price=item.optional("current_price"),
        liquidation_price=item.optional("liquidation_price"),
        margin=item.optional("margin"),
    )


def _totals(archive: Archive, file: Fields) -> None:
    for item in file.items("accountTotals"):
        total = Total(
            model=_named(archive, item),
            time=item.time("timestamp", "ts_ms"),
            equity=item.number(item.one_of("dollar_equity", "equity_usd")),
            realized=item.optional("realized_pnl"),
            unrealized=item.optional(item.one_of("total_unrealized_pnl", "unrealized_pnl"))
            or _ZERO,
        )
        archive.totals.append(total)


def _inceptions(archive: Archive, file: Fields) -> None:
    for item in file.items("sinceInceptionValues"):
        model = _named(archive, item)
        archive.inceptions[model] = Inception(
            model=model,
            time=item.time("inception_date"),
            capital=item.positive("nav_since_inception"),
        )


def _analytics(archive: Archive, file: Fields) -> None:
    for item in file.items("analytics"):
        model, time = _named(archive, item), item.time("updated_at")
        known = archive.analyses.get(model)
        if known is None or known.updated_at <= time:
            archive.analyses[model] = Analysis(model=model, payload=item.values, updated_at=time)


def _conversations(archive: Archive, file: Fields) -> None:
    server_time = file.time("serverTime") if file.has("serverTime") else None
    for item in file.items("conversations"):
        model, messages = _named(archive, item), []
        time = server_time
        for spoken in item.items("messages"):
            time = spoken.time("timestamp") if spoken.has("timestamp") else time
            messages.append(_message(spoken, time))
        archive.talks.append(Talk(model=model, messages=tuple(messages)))


def _message(item: Fields, time: datetime | None) -> NewMessage:
    # nof0's own importer takes a message without a role for the model's.
    role, content = item.values.get("role") or "assistant", item.values.get("content")
    if not isinstance(role, str) or role not in set(MessageRole):
        raise item.refuse("role", f"be one of {', '.join(MessageRole)}")
    if not isinstance(content, str) or "\x00" in content:
        raise item.refuse("content", "be text without NUL")
    if time is None:
        raise item.refuse("timestamp", "be given, here or before, or serverTime of the file")
    tokens = item.optional("token_count")
    count = None if tokens is None else int(tokens)
    return NewMessage(role=MessageRole(role), content=content, time=time, token_count=count)


def _drop_closed(archive: Archive) -> None:
    """Forget positions whose round trips are in the files: the lists were taken at two times."""
    closed: dict[tuple[str, str, str | None], Decimal] = {}
    for trip in archive.trips:
        key = (trip.entry.model, trip.entry.symbol, trip.entry.oid)
        closed[key] = closed.get(key, _ZERO) + trip.entry.quantity
    for model, held in archive.positions.items():
        archive.positions[model] = [
            item
            for item in held
            if closed.get((model, item.entry.symbol, item.entry.oid), _ZERO) < item.entry.quantity
        ]


_PARSERS: Final[Mapping[str, Callable[[Archive, Fields], None]]] = {
    "models.json": _models,
    "crypto-prices.json": _prices,
    "trades.json": _trades,
    "positions.json": _positions,
    "account-totals.json": _totals,
    "since-inception-values.json": _inceptions,
    "analytics.json": _analytics,
    "conversations.json": _conversations,
}
