"""JSON columns give back every digit that was put in."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import literal, select
from sqlalchemy.dialects.postgresql import JSONB

from domain import Database
from domain.db.exact_json import parsed, stored, written

NUMBERS = st.decimals("-1e30", "1e30", places=18) | st.integers(-(2**70), 2**70)
TEXTS = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)))
DOCUMENTS = st.recursive(
    NUMBERS | TEXTS | st.booleans() | st.none(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(TEXTS, parts, max_size=4),
    max_leaves=12,
)


@given(DOCUMENTS, st.none() | st.just(2))
def test_what_is_written_is_read_again_digit_for_digit(document: Any, indent: int | None) -> None:
    found = stored(written(document, indent=indent))
    assert found == document or _decimals(found) == _decimals(document)
    assert _decimals(found) == _decimals(document)


def _decimals(value: Any) -> Any:
    """Return `value` with each number as the exact Decimal of its shortest digits."""
    if isinstance(value, dict):
        return {key: _decimals(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decimals(item) for item in value]
    is_number = isinstance(value, float | int | Decimal) and not isinstance(value, bool)
    return (
        Decimal(repr(value)) if isinstance(value, float) else Decimal(value) if is_number else value
    )


def test_a_float_stays_one_where_it_loses_nothing() -> None:
    assert stored("[0.1, 2.50, 1e3]") == [0.1, 2.5, 1000.0]
    assert type(stored("0.1")) is float
    assert stored("0.12345678901234567890") == Decimal("0.12345678901234567890")


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "[1,]", ""])
def test_what_somebody_typed_must_be_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


async def test_a_column_loses_no_digit_on_its_way_through_the_database(db: Database) -> None:
    document = {"price": Decimal("123456789.123456789123"), "weights": [0.1, None], "n": 10**20}
    async with db.read(system="test") as unit:
        found = await unit.session.scalar(select(literal(document, JSONB)))
        text = await unit.session.scalar(
            select(literal(document, JSONB).cast(JSONB).op("->>")("price"))
        )
    assert found == document
    assert text == "123456789.123456789123"
    assert json.loads(written(found))["n"] == 10**20
