"""How values look: money like money, quantities like quantities, times in the reader's zone."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.money import plain

NOTHING: Final = "—"
_LONG_TEXT: Final = 80
_ID_SHOWN: Final = 8
_POSITIVE, _NEGATIVE = "positive", "negative"

SIGNED: Final = frozenset(
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
        "signed_quantity",
    }
)
"""Columns whose sign is the message: coloured, and with a plus."""

MONEY: Final = SIGNED - {"signed_quantity"} | {
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
}
"""Columns that are amounts: two decimals at least, the exact value on hover."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value as a page shows it.

    Args:
        text: What is seen.
        kind: Class for the style sheet: ``number``, ``time``, ``word``, ``code``, ``none``, ….
        title: What appears on hover: the exact or the UTC value.
        link: Where it leads.
    """

    text: str
    kind: str = ""
    title: str = ""
    link: str = ""


def show(  # noqa: PLR0911 - one line a type
    value: Any, name: str = "", zone: str = "UTC", *, whole: bool = False
) -> Cell:
    """Return how `value` of the column `name` looks to a reader in `zone`; `whole`: uncut."""
    if value is None or value == "":
        return Cell(NOTHING, "none")
    if isinstance(value, bool):
        return Cell("yes" if value else "no", "word")
    if isinstance(value, Decimal):
        return number(value, name)
    if isinstance(value, int):
        return Cell(f"{value:,}", "number")
    if isinstance(value, datetime):
        return instant(value, zone)
    if isinstance(value, date):
        return Cell(value.isoformat(), "time")
    if isinstance(value, StrEnum):
        return Cell(value.replace("_", " "), f"word word-{value}")
    if isinstance(value, UUID):
        return Cell(str(value) if whole else str(value)[-_ID_SHOWN:], "code", title=str(value))
    if isinstance(value, dict | list):
        return structure(value)
    if isinstance(value, bytes):
        return Cell(value.hex() if whole else f"{value.hex()[:12]}…", "code")
    return Cell(str(value)) if whole else _text(str(value))


def number(value: Decimal, name: str = "") -> Cell:
    """Return a number with grouped digits; money has two decimals at least."""
    exact = plain(value)
    shown = _grouped(value, places=2) if name in MONEY else _grouped(value, places=None)
    kind = "number"
    if name in SIGNED and value:
        kind += f" {_POSITIVE if value > 0 else _NEGATIVE}"
        shown = shown if value < 0 else f"+{shown}"
    return Cell(shown.replace("-", "−"), kind, title=exact if _differs(shown, exact) else "")


def instant(value: datetime, zone: str) -> Cell:
    """Return a time in the reader's zone, UTC on hover."""
    local = value.astimezone(zone_of(zone))
    exact = value.astimezone(UTC).isoformat(sep=" ", timespec="auto")
    return Cell(local.strftime("%Y-%m-%d %H:%M:%S"), "time", title=exact)


def structure(value: dict[str, Any] | list[Any]) -> Cell:
    """Return JSON, indented on a details page, one line in a list."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return Cell(text, "json") if value else Cell(NOTHING, "none")


def _text(value: str) -> Cell:
    if len(value) <= _LONG_TEXT:
        return Cell(value)
    return Cell(f"{value[: _LONG_TEXT - 1]}…", title=value[:2_000])


def _grouped(value: Decimal, places: int | None) -> str:
    if places is None:
        whole, _, decimals = plain(value).partition(".")
        shown = decimals[:8].rstrip("0")
        grouped = f"{int(whole):,}" if whole not in {"-0", ""} else whole
        return f"{grouped}.{shown}" if shown else grouped
    if 0 < abs(value) < 1:
        # Two decimals would show a satoshi as nothing.
        small = f"{value:.8f}".rstrip("0")
        return small + "0" * max(0, places - len(small.partition(".")[2]))
    return f"{value:,.{places}f}"


def _differs(shown: str, exact: str) -> bool:
    bare = shown.replace(",", "").lstrip("+")
    return Decimal(bare) != Decimal(exact) if bare not in {"", "-"} else False


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of this name; UTC when the name is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
