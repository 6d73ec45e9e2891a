"""Which rows are the same row, and which belong together: keys made of content alone.

Nothing here depends on a row's place in the file. The one thing that depends on the file is the
ordinal of a row among rows equal to it: brokers report genuine fills that are equal to the byte,
and only their number tells them apart.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final, TypeVar

from domain.errors import InvalidData
from domain.market.terms import OptionType
from domain.money import plain
from domain.trading.importing.records import (
    OptionTerms,
    ParsedBust,
    ParsedCash,
    ParsedSplit,
    ParsedTrade,
    Record,
    RejectedRow,
)
from domain.trading.importing.tables import Row
from domain.trading.terms import Side

MAX_EXTERNAL_ID: Final = 100

_T = TypeVar("_T")


class Ordinals:
    """Counts equal rows of one file, so that each gets a key of its own."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def key(self, cells: Sequence[str]) -> str:
        """Return the key of a row without a broker's id.

        Args:
            cells: The row's canonical cells, in an order that the format fixes.

        Returns:
            SHA-256 of the cells in hex, "#", and how many equal rows came before in this file.
        """
        encoded = json.dumps(list(cells), ensure_ascii=True, separators=(",", ":"))
        fingerprint = sha256(encoded.encode()).hexdigest()
        ordinal = self._seen[fingerprint]
        self._seen[fingerprint] += 1
        return f"{fingerprint}#{ordinal}"


def canonical_cells(row: Row, texts: Iterable[str], numbers: Iterable[str]) -> list[str]:
    """Return what a row says, in one spelling: ``1,099.00`` is ``1099`` in a number column.

    Args:
        row: The row.
        texts: Columns whose text counts as it is.
        numbers: Columns whose value counts.
    """
    amounts = (plain(row.number(name)) if row.text(name) else "" for name in numbers)
    return [*(row.text(name) for name in texts), *amounts]


def checked_external_id(text: str, field: str) -> str:
    """Return a broker's id.

    Raises:
        InvalidData: Longer than 100 characters, or with unprintable characters.
    """
    if len(text) > MAX_EXTERNAL_ID or not text.isprintable():
        raise InvalidData(field, text, f"be at most {MAX_EXTERNAL_ID} printable characters")
    return text


def delivery_key(instant: datetime, underlying: str, price: Decimal, side: Side) -> str:
    """Return the link key of an assignment or exercise.

    The option row and the rows of the shares state the same four things. The number of shares is
    left out on purpose: one assignment may close shares and open others, in two rows.

    Args:
        instant: Aware instant of the event.
        underlying: Symbol of what is delivered.
        price: The strike, which is the price of the shares.
        side: Whether the shares are bought or sold.

    Example:
        >>> from datetime import UTC, datetime
        >>> delivery_key(datetime(2019, 8, 7, 21, tzinfo=UTC), "BABA", Decimal("190.00"), Side.BUY)
        'delivery|2019-08-07T21:00:00+00:00|BABA|190|buy'
    """
    parts = ("delivery", instant.isoformat(), underlying, plain(price), side.value)
    return "|".join(parts)


def option_delivery_key(instant: datetime, option: OptionTerms, *, is_exercised: bool) -> str:
    """Return the link key that an option's row shares with the rows of what it delivers.

    Args:
        instant: Aware instant of the event.
        option: The terms.
        is_exercised: True for the holder's exercise, False for the writer's assignment.
    """
    # The holder of a call and the writer of a put receive shares.
    is_call = option.option_type is OptionType.CALL
    side = Side.BUY if is_call is is_exercised else Side.SELL
    return delivery_key(instant, option.underlying, option.strike, side)


def economics(record: Record) -> tuple[Hashable, ...]:
    """Return what two rows with the same broker's id must agree on."""
    match record:
        case ParsedTrade():
            return (
                record.instrument.symbol, record.kind, record.side, record.quantity, record.price,
                record.gross_amount, record.commission, record.fees, record.currency,
                record.executed_at,
            )  # fmt: skip
        case ParsedCash():
            return (record.kind, record.amount, record.currency, record.effective_at)
        case ParsedBust():
            return (record.external_id, record.executed_at)
        case ParsedSplit():
            return (record.instrument.symbol, record.numerator, record.denominator,
                    record.quantity_change, record.executed_at)  # fmt: skip


def without_contradictions(
    records: Iterable[Record], column: str
) -> tuple[list[Record], list[RejectedRow]]:
    """Refuse rows that share a broker's id but not what they say.

    All of them are refused: which one came first is an accident of the file. Rows that agree are
    kept; the booking recognises them as the same row.

    Args:
        records: What the file's rows became.
        column: Where the id stands, for the report.
    """
    kept: list[Record] = []
    refused: list[RejectedRow] = []
    for group in grouped(records, lambda record: (type(record), record.dedupe_key)).values():
        if len({economics(record) for record in group}) == 1:
            kept.extend(group)
        else:
            refused.extend(_contradicting(record, column) for record in group)
    return kept, refused


def grouped(items: Iterable[_T], key: Callable[[_T], Hashable]) -> dict[Hashable, list[_T]]:
    """Return the items by key, each group in the order of the items."""
    groups: dict[Hashable, list[_T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


def _contradicting(record: Record, column: str) -> RejectedRow:
    rule = "say the same as the other row with this id"
    return RejectedRow.because(record.line, InvalidData(column, record.dedupe_key, rule))
