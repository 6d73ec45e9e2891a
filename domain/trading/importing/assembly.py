"""Rows become records one by one, and records become a `ParsedFile` in an order of their own.

The one place that turns a broken rule into a refused row, so that each row ends exactly once.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Protocol, TypeVar

from domain.errors import InvalidData
from domain.trading.importing.records import (
    ParsedBust,
    ParsedCash,
    ParsedFile,
    ParsedSplit,
    ParsedTrade,
    Record,
    RejectedRow,
)

_R = TypeVar("_R", bound=Record)
_T = TypeVar("_T")


class Lined(Protocol):
    """Something that knows the line of the file on which it begins."""

    @property
    def line(self) -> int:
        """Physical line, from 1."""
        ...


_L = TypeVar("_L", bound=Lined)


def build_all(
    rows: Iterable[_L | RejectedRow], build: Callable[[_L], _T]
) -> tuple[list[_T], list[RejectedRow]]:
    """Turn every row into what `build` makes of it, or into a refusal.

    Args:
        rows: The rows of the file; refusals among them pass through.
        build: Reads one row; raises InvalidData with the column when it breaks a rule.
    """
    built: list[_T] = []
    rejected: list[RejectedRow] = []
    for row in rows:
        if isinstance(row, RejectedRow):
            rejected.append(row)
            continue
        try:
            built.append(build(row))
        except InvalidData as error:
            rejected.append(RejectedRow.because(row.line, error))
    return built, rejected


def assemble(
    source: str,
    rows_total: int,
    *,
    records: Iterable[Record],
    rejected: Iterable[RejectedRow],
    accounts: Iterable[str] = (),
) -> ParsedFile:
    """Sort the records by content and hand them over.

    Args:
        source: Name of the format.
        rows_total: Data rows that were read.
        records: The records, in any order.
        rejected: The refused rows, in any order.
        accounts: Account numbers that the file names.

    Raises:
        InvalidData: `rows_total` is not the number of records and refused rows.
    """
    every = list(records)
    return ParsedFile(
        source=source,
        rows_total=rows_total,
        trades=_of_type(every, ParsedTrade, "executed_at", "sequence", "dedupe_key"),
        cash=_of_type(every, ParsedCash, "effective_at", "dedupe_key"),
        busts=_of_type(every, ParsedBust, "executed_at", "dedupe_key"),
        splits=_of_type(every, ParsedSplit, "executed_at", "dedupe_key"),
        rejected=tuple(sorted(rejected, key=attrgetter("line"))),
        accounts=tuple(sorted(set(accounts))),
    )


def _of_type(records: list[Record], kind: type[_R], *order: str) -> tuple[_R, ...]:
    return tuple(sorted((r for r in records if isinstance(r, kind)), key=attrgetter(*order)))
