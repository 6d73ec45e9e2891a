"""How values look: money like money, quantities like quantities, times in the reader's zone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from admin.translating import word
from domain.db.exact_json import written
from domain.money import plain

NOTHING: Final = "—"
_MINUS: Final = "\N{MINUS SIGN}"
_NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
_LONG_TEXT: Final = 80
_ID_SHOWN: Final = 8
_POSITIVE, _NEGATIVE = "positive", "negative"

_PROFITS: Final = frozenset(
    {
        "amount",
        "realized_pnl",
        "realized_gross_pnl",
        "unrealized_pnl",
        "unrealized",
        "gross_pnl",
        "net_pnl",
        "gross",
        "net",
        "win_dollars",
        "lose_dollars",
        "pnl",
        "mae",
        "mfe",
    }
)

SIGNED: Final = _PROFITS | {
    "signed_quantity",
    "return_pct",
    "pnl_percent",
    "r_multiple",
    "sentiment",
}
"""Columns whose sign is the message: coloured, and with a plus."""

MONEY: Final = _PROFITS | {
    "gross_amount",
    "open_value",
    "open_fees",
    "realized_fees",
    "market_value",
    "commission",
    "fees",
    "fees_settled",
    "equity",
    "cash",
    "position_value",
    "net_contributions",
    "cash_amount",
    "close_value",
    "close_fees",
    "closed_value",
    "value_opened",
    "value_remaining",
    "fees_opened",
    "fees_remaining",
    "initial_risk",
}
"""Columns that are amounts: two decimals, the exact value on hover."""

PRICES: Final = frozenset(
    {
        "price",
        "bid",
        "ask",
        "mark",
        "open",
        "high",
        "low",
        "close",
        "vwap",
        "strike",
        "current_price",
        "liquidation_price",
        "planned_entry",
        "planned_stop",
        "planned_target",
        "target_price",
    }
)
"""Columns that are prices: two decimals at least, eight at most."""

DECIMALS: Final[dict[str, tuple[int, int]]] = {
    **dict.fromkeys(PRICES, (2, 8)),
    **dict.fromkeys(("entry_price", "exit_price", "sharpe"), (2, 4)),
    **dict.fromkeys(("return_pct", "pnl_percent", "r_multiple", "sentiment"), (2, 2)),
    **dict.fromkeys(("actual", "forecast", "previous"), (2, 8)),
    **dict.fromkeys(("confidence", "relevance"), (0, 1)),
    "rate": (4, 8),
    "volume": (0, 4),
}
"""Fewest and most decimals of other columns; what is cut off is on hover."""

UNITS: Final = {
    "return_pct": "%",
    "pnl_percent": "%",
    "confidence": "%",
    "relevance": "%",
    "r_multiple": "R",
}
"""Units that are the same for every value of a column."""

FRACTIONS: Final = frozenset({"confidence", "relevance"})
"""Columns from 0 to 1 that people read in percent."""

WORDS: Final = frozenset(
    {"alert_type", "analysis_type", "event_type", "recommendation", "screener_type", "strategy"}
)
"""Columns of open vocabularies, whose words are joined by underscores."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value as a page shows it.

    Args:
        text: What is seen.
        kind: Class for the style sheet: ``number``, ``time``, ``word``, ``code``, ``none``, ….
        title: What appears on hover: the exact or the UTC value.
        link: Where it leads.
        tree: The parts of a structure, for pages that have room for them.
    """

    text: str
    kind: str = ""
    title: str = ""
    link: str = ""
    tree: Any = None


def show(value: Any, name: str = "", zone: str = "UTC", *, whole: bool = False) -> Cell:
    """Return how a value looks.

    Args:
        value: Any column's value.
        name: The column: it decides between money, prices and quantities.
        zone: The reader's time zone.
        whole: Nothing is shortened.
    """
    if value is None or value == "":
        return Cell(NOTHING, "none")
    if isinstance(value, Decimal):
        return number(value, name)
    if isinstance(value, datetime):
        return instant(value, zone)
    for kind, look in _LOOKS.items():
        if isinstance(value, kind):
            return look(value, whole=whole)
    return _text(word(value) if name in WORDS else str(value), whole=whole)


def number(value: Decimal, name: str = "") -> Cell:
    """Return a number with grouped digits, its sign and its unit; the exact one on hover."""
    shown = _digits(value * 100 if name in FRACTIONS else value, name)
    kind = "number"
    if name in SIGNED and value:
        kind += f" {_POSITIVE if value > 0 else _NEGATIVE}"
        shown = shown if value < 0 else f"+{shown}"
    exact = plain(value)
    title = exact if name in FRACTIONS or _differs(shown, exact) else ""
    unit = f"{_NARROW}{UNITS[name]}" if name in UNITS else ""
    return Cell(shown.replace("-", _MINUS) + unit, kind, title=title)


def _digits(value: Decimal, name: str) -> str:
    if name in MONEY:
        return _rounded(value)
    least, most = DECIMALS.get(name, (0, 8))
    return _grouped(value, least, most=most)


def instant(value: datetime, zone: str) -> Cell:
    """Return a time in the reader's zone, UTC on hover."""
    local = value.astimezone(zone_of(zone))
    exact = value.astimezone(UTC).isoformat(sep=" ", timespec="auto")
    return Cell(local.strftime("%Y-%m-%d %H:%M:%S"), "time", title=exact)


def _structure(value: dict[str, Any] | list[Any], *, whole: bool) -> Cell:
    if not value:
        return Cell(NOTHING, "none")
    if whole:
        text = written(value, indent=2)
        return Cell(text, "json", tree=value)
    return _text(_in_a_line(value), whole=False)


def _in_a_line(value: dict[str, Any] | list[Any]) -> str:
    """Return a structure for a line of a list: plain words when it holds no other structure."""
    parts = value.values() if isinstance(value, dict) else value
    if any(isinstance(part, dict | list) for part in parts):
        return written(value)
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return ", ".join(f"{key} {part}" for key, part in value.items())


def _text(value: str, *, whole: bool) -> Cell:
    if whole or len(value) <= _LONG_TEXT:
        return Cell(value)
    return Cell(f"{value[: _LONG_TEXT - 1]}…", title=value[:2_000])


def _key(value: UUID, *, whole: bool) -> Cell:
    return Cell(str(value) if whole else str(value)[-_ID_SHOWN:], "code", title=str(value))


def _bytes(value: bytes, *, whole: bool) -> Cell:
    return Cell(value.hex() if whole else f"{value.hex()[:12]}…", "code")


_LOOKS: Final[dict[type, Callable[..., Cell]]] = {
    bool: lambda value, **_: Cell(word("yes" if value else "no"), "word"),
    int: lambda value, **_: Cell(f"{value:,}", "number"),
    date: lambda value, **_: Cell(value.isoformat(), "time"),
    StrEnum: lambda value, **_: Cell(word(value), f"word word-{value}"),
    UUID: _key,
    dict: _structure,
    list: _structure,
    bytes: _bytes,
}
"""How each type looks; bool stands before int, which it is too."""


def _rounded(value: Decimal) -> str:
    if 0 < abs(value) < 1:
        # Two decimals would show a satoshi as nothing.
        return _grouped(value, 2)
    return f"{value:,.2f}"


def _grouped(value: Decimal, least: int, *, most: int = 8) -> str:
    """Return up to `most` decimals, `least` of them even when they are zero."""
    whole, _, decimals = f"{value:,.{most}f}".partition(".")
    shown = decimals.rstrip("0").ljust(least, "0")
    return f"{whole}.{shown}" if shown else whole


def _differs(shown: str, exact: str) -> bool:
    bare = shown.replace(",", "").lstrip("+")
    return Decimal(bare) != Decimal(exact) if bare not in {"", "-"} else False


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of this name; UTC when the name is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
