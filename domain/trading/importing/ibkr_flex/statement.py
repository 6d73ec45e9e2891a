"""Reads an Activity Flex Query: bytes in, records and refused rows out."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from domain.trading.importing.assembly import assemble, build_all
from domain.trading.importing.documents import read_xml_text
from domain.trading.importing.ibkr_flex import elements
from domain.trading.importing.ibkr_flex.cash import cash_transaction
from domain.trading.importing.ibkr_flex.corporate_actions import read_actions
from domain.trading.importing.ibkr_flex.elements import Item, Statement, read_statements, rows_only
from domain.trading.importing.ibkr_flex.option_events import option_event
from domain.trading.importing.ibkr_flex.trades import Account, executions_of, trade_or_bust
from domain.trading.importing.ibkr_flex.transfers import transfer
from domain.trading.importing.identity import Ordinals, without_contradictions
from domain.trading.importing.records import ParsedFile, Record, RejectedRow
from domain.trading.importing.tables import Row

SOURCE: Final = "ibkr-flex"


def parse(content: bytes) -> ParsedFile:
    """Read the statements of a Flex query.

    Args:
        content: The XML file, at most 200 MB.

    Raises:
        InvalidData: The file as a whole cannot be read: field "file", the value and the rule.
    """
    statements = read_statements(read_xml_text(content).encode())
    ordinals = Ordinals()
    records: list[Record] = []
    rejected: list[RejectedRow] = []
    for statement in statements:
        for found, refused in _sections(statement, ordinals):
            records.extend(found)
            rejected.extend(refused)
    kept, contradicting = without_contradictions(records, "transactionID")
    rows_total = len(records) + len(rejected)
    return assemble(
        SOURCE,
        rows_total,
        records=kept,
        rejected=[*rejected, *contradicting],
        accounts=(statement.account for statement in statements if statement.account),
    )


def _sections(
    statement: Statement, ordinals: Ordinals
) -> Iterable[tuple[Iterable[Record], Iterable[RejectedRow]]]:
    trades = statement.rows(elements.TRADES)
    executions = executions_of(rows_only(trades))
    account = Account(statement.base_currency, ordinals, executions)
    yield build_all(trades, partial(trade_or_bust, account=account))
    yield _with(statement.rows(elements.CASH), cash_transaction, ordinals)
    booked = {row.text("tradeID") for row in executions}
    events = [
        item for item in statement.rows(elements.OPTION_EVENTS) if not _is_booked(item, booked)
    ]
    yield _with(events, option_event, ordinals)
    yield _with(statement.rows(elements.TRANSFERS), transfer, ordinals)
    items = statement.rows(elements.CORPORATE_ACTIONS)
    actions, refused = read_actions(rows_only(items), ordinals)
    yield actions, [*refused, *(item for item in items if isinstance(item, RejectedRow))]


def _with(
    items: Iterable[Item], reader: Callable[[Row, Ordinals], Record], ordinals: Ordinals
) -> tuple[list[Record], list[RejectedRow]]:
    return build_all(items, lambda row: reader(row, ordinals))


def _is_booked(item: Item, trade_ids: set[str]) -> bool:
    # The section repeats what IBKR books under Trades, with the same tradeID.
    return (
        isinstance(item, Row) and bool(item.text("tradeID")) and item.text("tradeID") in trade_ids
    )
