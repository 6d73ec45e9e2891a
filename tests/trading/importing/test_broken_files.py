"""No file, however broken, does anything but say what is wrong; no row is ever lost."""

import os
import random
from collections.abc import Callable
from decimal import Decimal

import pytest

from domain.demo import files
from domain.errors import InvalidData
from domain.trading.importing.formats import FORMATS
from domain.trading.importing.records import ParsedFile

COUNT = int(os.environ.get("TRADEKEEP_FUZZ_FILES", "400"))
GENERIC = (
    b"date_time,side,symbol,quantity,price,currency,commission,fees,external_id\n"
    b"2024-01-02T15:00:00Z,buy,AAPL,10,187.30,USD,1.00,0.02,x1\n"
    b"2024-01-03T15:00:00-05:00,sell,AAPL,4.5,190.00,USD,1.00,0.03,x2\n"
    b'2024-01-04T15:00:00Z,buy,"BTC-USD",0.00012345,44000.5,USD,0,0,x3\n'
)
FLEX = b"""<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">
<FlexStatement accountId="U1"><AccountInformation accountId="U1" currency="EUR"/>
<Trades><Trade assetCategory="STK" symbol="IBM" currency="USD" quantity="10" tradePrice="130.5"
 proceeds="-1305" ibCommission="-1" buySell="BUY" dateTime="20200612;103000" tradeID="11"
 transactionID="21" multiplier="1"/></Trades>
<CashTransactions><CashTransaction currency="USD" dateTime="20200612" amount="12.5"
 type="Dividends" assetCategory="STK" symbol="IBM" transactionID="31" description="IBM DIV"/>
</CashTransactions></FlexStatement></FlexStatements></FlexQueryResponse>"""
SEEDS = {
    "tastytrade": files.content(files.TASTYTRADE),
    "csv": GENERIC,
    "ibkr-flex": FLEX,
}
POISON = [
    b"NaN", b"Infinity", b"-inf", b"1e5000", b"9" * 40, b"\x00", b"\xff\xfe", b"=1+1", b"'", b'"',
    b"", b" ", b"--", b"1,2,3", b"1.2.3", "٣".encode(), b"2019-02-30", b"0001-01-01T00:00:00Z",
    b"x" * 2_000, b"<!ENTITY a 'b'>", b"\r", b"\n\n", b"-0", b"0", b"-5", b"SELL_TO_OPEN",
]  # fmt: skip


def swap_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def poison_a_cell(content: bytes, chance: random.Random) -> bytes:
    cells = content.split(b",") if b"," in content else content.split(b'"')
    joint = b"," if b"," in content else b'"'
    for _ in range(chance.randint(1, 4)):
        cells[chance.randrange(len(cells))] = chance.choice(POISON)
    return joint.join(cells)


def move_lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.split(b"\n")
    for _ in range(chance.randint(1, 5)):
        lines.insert(chance.randrange(len(lines) + 1), lines[chance.randrange(len(lines))])
    return b"\n".join(lines)


def other_delimiter(content: bytes, chance: random.Random) -> bytes:
    return content.replace(b",", chance.choice([b";", b"\t", b"|", b",,"]))


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    swap_bytes, cut_off, poison_a_cell, move_lines, other_delimiter,
]  # fmt: skip


def check(parsed: ParsedFile) -> None:
    records = [*parsed.trades, *parsed.cash, *parsed.busts, *parsed.splits]
    assert parsed.rows_total == len(records) + len(parsed.rejected)
    for trade in parsed.trades:
        assert trade.quantity > 0
        assert trade.executed_at.utcoffset() is not None
        assert all(
            isinstance(value, Decimal) and value.is_finite()
            for value in (trade.quantity, trade.price, trade.gross_amount, trade.fees)
        )
    for refused in parsed.rejected:
        assert refused.line >= 1
        assert refused.rule
        assert len(refused.value) <= 80


@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_file_is_refused_or_read_without_losing_a_row(name: str) -> None:
    chance = random.Random(2024)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(COUNT):
        content = SEEDS[name]
        for _ in range(chance.randint(1, 3)):
            content = chance.choice(CHANGES)(content, chance) or b"x"
        try:
            parsed = FORMATS[name](content)
        except InvalidData:
            outcomes["refused"] += 1
            continue
        check(parsed)
        assert FORMATS[name](content) == parsed
        outcomes["read"] += 1
    assert min(outcomes.values()) > COUNT // 100


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
        b"PK\x03\x04" + b"x" * 50,
        b"\x1f\x8b\x08" + b"x" * 50,
        b"<html><body>Please log in</body></html>",
        "Date,Type".encode("utf-16"),
        b"a" * 1_000_000,
        b"\xe4\xf6\xfc,\xdf\n",
        b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">]><lolz>&lol;</lolz>',
    ],
    ids=["empty", "png", "zip", "gzip", "html", "utf-16", "one cell", "latin-1", "bomb"],
)
def test_a_file_of_another_kind_is_refused_whole(name: str, content: bytes) -> None:
    with pytest.raises(InvalidData) as caught:
        FORMATS[name](content)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["tastytrade", "csv"])
def test_a_shuffled_file_gives_the_same_records(name: str) -> None:
    header, *rows = SEEDS[name].decode().splitlines()
    random.Random(5).shuffle(rows)
    first = FORMATS[name](SEEDS[name])
    second = FORMATS[name]("\n".join([header, *rows]).encode())
    assert {item.dedupe_key: item.sequence for item in first.trades} == {
        item.dedupe_key: item.sequence for item in second.trades
    }
    assert {item.dedupe_key for item in first.cash} == {item.dedupe_key for item in second.cash}


@pytest.mark.parametrize(
    ("cell", "column", "rule"),
    [
        ("2024-01-02T15:00:00", "date_time", "offset"),
        ("2024-02-30T15:00:00Z", "date_time", "date"),
    ],
)
def test_a_time_without_zone_or_that_does_not_exist_names_line_column_and_rule(
    cell: str, column: str, rule: str
) -> None:
    parsed = FORMATS["csv"](GENERIC.replace(b"2024-01-02T15:00:00Z", cell.encode()))
    (refused,) = parsed.rejected
    assert (refused.line, refused.column, refused.value) == (2, column, cell)
    assert rule in refused.rule
    assert len(parsed.trades) == 2


@pytest.mark.parametrize("quantity", ["-10", "0", "NaN", "1e3", "ten", "1.0000000000000000001"])
def test_a_quantity_that_is_none_is_refused_and_the_other_rows_are_kept(quantity: str) -> None:
    parsed = FORMATS["csv"](GENERIC.replace(b"AAPL,10,", f"AAPL,{quantity},".encode()))
    (refused,) = parsed.rejected
    assert (refused.line, refused.column, refused.value) == (2, "quantity", quantity)
    assert len(parsed.trades) == 2


def test_identical_rows_are_real_fills_and_stay_apart() -> None:
    row = b"2024-01-02T15:00:00Z,buy,AAPL,10,187.30,USD\n"
    parsed = FORMATS["csv"](b"date_time,side,symbol,quantity,price,currency\n" + row * 3)
    assert len({trade.dedupe_key for trade in parsed.trades}) == 3
