"""Fields: what is written can be read back, to the last digit and microsecond."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.fields import (
    BooleanField,
    ChoiceField,
    DayField,
    DecimalField,
    Field,
    InstantField,
    IntegerField,
    JsonField,
    ListField,
    LongTextField,
    ReferenceField,
    TextField,
    described,
    field_for,
    label_of,
)
from domain.errors import InvalidData
from domain.money import CONTEXT
from domain.schema import metadata

AMOUNTS = st.decimals(
    min_value=-(10**20) + 1, max_value=10**20 - 1, places=18, allow_nan=False, allow_infinity=False
)
ZONES = st.timezones() | st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


@given(AMOUNTS)
def test_an_amount_survives_its_field(value: Decimal) -> None:
    field = DecimalField("amount", "Amount")
    assert field.value_of(field.write(value)) == value
    assert CONTEXT.compare(Decimal(field.write(value)), value) == 0


@given(
    st.datetimes(
        datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
        datetime(9998, 12, 31),  # noqa: DTZ001
        timezones=ZONES,
        allow_imaginary=False,
    )
)
def test_an_instant_survives_its_field(value: datetime) -> None:
    field = InstantField("at", "At")
    assert field.value_of(field.write(value)) == value.astimezone(UTC)


@given(st.dates())
def test_a_day_survives_its_field(value: date) -> None:
    field = DayField("on", "On")
    assert field.value_of(field.write(value)) == value


@given(JSON.filter(lambda value: value is not None))
def test_json_survives_its_field(value: Any) -> None:
    field = JsonField("details", "Details")
    assert field.value_of(field.write(value)) == json.loads(json.dumps(value))


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_count_survives_its_field(value: int) -> None:
    field = IntegerField("count", "Count")
    assert field.value_of(field.write(value)) == value


@pytest.mark.parametrize(
    ("field", "text", "rule"),
    [
        (TextField("name", "Name", is_required=True), "  ", "be filled in"),
        (TextField("name", "Name"), "a\x00", "no NUL"),
        (DecimalField("price", "Price"), "1e9", "be a decimal number"),
        (DecimalField("price", "Price"), "\N{ARABIC-INDIC DIGIT ONE}", "be a decimal number"),
        (DecimalField("price", "Price"), "1" + "0" * 20, "smaller than 10"),
        (IntegerField("count", "Count"), "1.5", "be a whole number"),
        (IntegerField("count", "Count"), "9" * 19, "be a whole number"),
        (BooleanField("flag", "Flag"), "maybe", "be yes or no"),
        (InstantField("at", "At"), "2024-01-01 00:00", "carry a time zone"),
        (InstantField("at", "At"), "0001-01-01 00:00+14:00", "lie between the years"),
        (InstantField("at", "At"), "now", "be a time"),
        (DayField("on", "On"), "1/2/2024", "be a day"),
        (ChoiceField("side", "Side", choices=(("buy", "buy"),)), "sell", "one of the choices"),
        (ReferenceField("user_id", "User"), "ada", "record from the list"),
        (JsonField("details", "Details"), "[" * 100_000, "valid JSON"),
        (JsonField("details", "Details"), '{"a": Infinity}', "valid JSON"),
        (ListField("scopes", "Scopes"), '["a", 1]', "list of words"),
    ],
)
def test_what_cannot_be_stored_is_refused(field: Field, text: str, rule: str) -> None:
    with pytest.raises(InvalidData, match=rule) as caught:
        field.value_of(text)
    assert caught.value.field == field.name


def test_an_empty_text_is_null_for_every_kind_of_field() -> None:
    kinds = (
        TextField,
        DecimalField,
        BooleanField,
        InstantField,
        DayField,
        JsonField,
        ReferenceField,
    )
    for kind in kinds:
        field = kind("x", "X")
        assert field.value_of("") is None
        assert field.write(None) == ""


def test_lines_come_back_as_they_were_stored() -> None:
    assert LongTextField("notes", "Notes").value_of("one\r\ntwo\r\n") == "one\ntwo\n"


def test_every_column_of_every_table_has_a_field_that_takes_its_words() -> None:
    for table in metadata.tables.values():
        for column in table.columns:
            field = field_for(column)
            assert (field.name, field.help) == (column.key, described(column))
            assert field.label and "`" not in field.help and "NULL" not in field.help


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("executed_at", "Executed at"),
        ("portfolio_id", "Portfolio"),
        ("external_id", "External ID"),
        ("realized_pnl", "Realized P&L"),
        ("isin", "ISIN"),
        ("fx_rate_to_base", "FX rate to base"),
    ],
)
def test_columns_have_names_that_people_read(name: str, label: str) -> None:
    assert label_of(name) == label


def test_utc_is_what_instants_are_written_in() -> None:
    tokyo = datetime(2024, 1, 1, 9, 0, 0, 5, tzinfo=timezone(timedelta(hours=9)))
    assert InstantField("at", "At").write(tokyo) == "2024-01-01 00:00:00.000005+00:00"
    assert InstantField("at", "At").value_of(
        "2024-01-01 00:00:00.000005+00:00"
    ) == tokyo.astimezone(UTC)
