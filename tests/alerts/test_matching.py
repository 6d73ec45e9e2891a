"""When rules fire: hand-made series, one sentence each."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.alerts.matching import (
    ArticleSeen,
    Observation,
    Rule,
    State,
    check_conditions,
    fold,
    matches,
    step,
)
from domain.alerts.terms import AlertStatus, Condition, TriggerMode
from domain.errors import InvalidData

START = datetime(2024, 3, 15, 13, 30, tzinfo=UTC)
EVERY = TriggerMode.EVERY
MINUTE = timedelta(minutes=1)


def rule(condition: str, threshold: str | None = "100", **values: Any) -> Rule:
    values.setdefault("trigger_mode", EVERY)
    for name in ("threshold_high", "hysteresis"):
        if name in values:
            values[name] = Decimal(values[name])
    limit = None if threshold is None else Decimal(threshold)
    return Rule(Condition(condition), limit, **values)


def fired(watched: Rule, series: str, *, start: datetime = START, **seen: Any) -> list[str]:
    """Return the values of `series`, one a minute, at which the rule fired."""
    state, found = State(), []
    for minute, value in enumerate(series.split()):
        at = start + minute * MINUTE
        taken = step(
            watched, state, Observation(alert_type="price", value=Decimal(value), at=at, **seen)
        )
        state = taken.state
        if taken.fires:
            found.append(value)
    return found


@pytest.mark.parametrize(
    ("watched", "series", "expected"),
    [
        (rule("above"), "99 100 101 102 100 100.5", "101 100.5"),
        (rule("above"), "101", "101"),
        (rule("below"), "101 100 99.99 98 100 99", "99.99 99"),
        (rule("crosses_above"), "101 102 103", ""),
        (rule("crosses_above"), "99 101 102 99 105", "101 105"),
        (rule("crosses_above"), "100 100.01", "100.01"),
        (rule("crosses_below"), "101 99 98 101 90", "99 90"),
        (rule("crosses"), "99 101 102 98 97 103", "101 98 103"),
        (rule("between", "10", threshold_high="20"), "9 10 15 20 21 20", "10 20"),
        (rule("outside", "10", threshold_high="20"), "15 10 20 21 22 20 9", "21 9"),
        (rule("equals"), "99 100 100 101 100", "100 100"),
        (rule("pct_change", "5"), "100 104 110 111 100", "110 100"),
        (rule("pct_change", "5"), "0 50 52.5", "52.5"),
        (rule("pct_change", "5"), "-100 -105 -105 -99", "-105 -99"),
        (rule("custom", None), "0 1 1 0 -1", "1 1 -1"),
    ],
    ids=lambda value: value.condition.value if isinstance(value, Rule) else None,
)
def test_a_rule_fires_when_its_condition_comes_true(
    watched: Rule, series: str, expected: str
) -> None:
    assert fired(watched, series) == expected.split()


@pytest.mark.parametrize(
    ("watched", "series", "expected"),
    [
        (rule("above", hysteresis="2"), "101 99 101 98.01 101 98 101", "101 101"),
        (rule("below", hysteresis="2"), "99 101 99 102 99", "99 99"),
        (rule("crosses_above", hysteresis="2"), "99 101 99 101 98 101", "101 101"),
        (rule("crosses_below", hysteresis="2"), "101 99 101 99 102 99", "99 99"),
        (rule("crosses", hysteresis="2"), "99 101 99.5 100.5 103 97", "101 97"),
        (rule("equals", hysteresis="2"), "100 101 100 102 100", "100 100"),
        (rule("between", "10", threshold_high="20", hysteresis="2"), "15 9 15 8 15", "15 15"),
        (rule("outside", "10", threshold_high="20", hysteresis="2"), "9 11 9 12 9", "9 9"),
        (rule("pct_change", "5", hysteresis="4"), "100 110 114 130 131 150", "110 150"),
    ],
    ids=lambda value: value.condition.value if isinstance(value, Rule) else None,
)
def test_a_rule_that_fired_waits_until_the_value_was_far_enough_back(
    watched: Rule, series: str, expected: str
) -> None:
    assert fired(watched, series) == expected.split()


def test_once_is_the_end_of_it() -> None:
    once = rule("above", trigger_mode=TriggerMode.ONCE)
    assert fired(once, "101 99 101") == ["101"]


def test_a_level_fires_again_in_the_next_bar_and_on_the_next_day() -> None:
    bars = rule("above", trigger_mode=TriggerMode.ONCE_PER_BAR)
    assert fired(bars, "101 102 99 103") == ["101", "102", "103"]
    days = rule("above", trigger_mode=TriggerMode.ONCE_PER_DAY)
    midnight = datetime(2024, 3, 15, 23, 58, tzinfo=UTC)
    assert fired(days, "101 99 101.5 102", start=midnight) == ["101", "101.5"]


def test_one_bar_fires_once_however_often_its_values_cross() -> None:
    bars = rule("crosses_above", trigger_mode=TriggerMode.ONCE_PER_BAR)
    assert fired(bars, "99 101 99 102 99 103", bar_at=START) == ["101"]


def test_a_cooldown_delays_what_is_still_true_and_drops_what_is_over() -> None:
    patient = rule("above", cooldown=3 * MINUTE)
    assert fired(patient, "101 99 102 99 99 103") == ["101", "103"]
    assert fired(patient, "101 99 102 103") == ["101", "103"]


def test_a_condition_must_last_before_it_fires() -> None:
    patient = rule("above", sustain=2 * MINUTE)
    assert fired(patient, "101 102 99 101 102 103 104") == ["103"]
    crossing = rule("crosses_above", sustain=2 * MINUTE)
    assert fired(crossing, "99 101 99 101 102 103 104") == ["103"]


def test_a_snoozed_rule_is_silent_and_fires_afterwards_if_it_is_still_true() -> None:
    snoozed = rule("above", snoozed_until=START + 2 * MINUTE)
    assert fired(snoozed, "101 102 103 104") == ["103"]
    assert fired(snoozed, "101 99 99 104") == ["104"]


def test_a_rule_expires_at_its_instant() -> None:
    ending = rule("above", expires_at=START + MINUTE)
    state, firings = fold(
        ending,
        State(),
        [
            Observation(alert_type="price", value=Decimal(99), at=START),
            Observation(alert_type="price", value=Decimal(101), at=START + MINUTE),
        ],
    )
    assert (state.status, firings) == (AlertStatus.EXPIRED, 0)


def test_what_is_old_or_comes_twice_changes_nothing() -> None:
    watched = rule("crosses_above")
    state, _ = fold(
        watched,
        State(),
        [
            Observation(alert_type="price", value=Decimal(99), at=START),
            Observation(alert_type="price", value=Decimal(101), at=START + 2 * MINUTE),
        ],
    )
    for minutes, value in ((0, 99), (1, 50), (2, 101), (2, 99)):
        late = Observation(alert_type="price", value=Decimal(value), at=START + minutes * MINUTE)
        assert step(watched, state, late).state == state


def test_the_caller_may_say_what_the_value_was_before() -> None:
    yesterday = {"previous": Decimal(95)}
    assert fired(rule("crosses_above"), "101", **yesterday) == ["101"]
    assert fired(rule("pct_change", "6"), "100 101", **yesterday) == ["101"]


def test_events_with_a_key_may_come_late_and_each_fires() -> None:
    watched = rule("custom", None)
    state, found = State(), []
    for minute in (5, 2, 2, 9):
        seen = Observation(
            alert_type="news", value=Decimal(1), at=START + minute * MINUTE, key=f"a{minute}"
        )
        taken = step(watched, state, seen)
        state = taken.state
        found.append(taken.fires)
    assert found == [True] * 4
    assert state.last_evaluated_at == state.last_triggered_at == START + 9 * MINUTE


ARTICLE = ArticleSeen(
    key="1",
    title="Fed raises rates; Apple (AAPL) slips",
    at=START,
    text="A hike of 25 basis points.",
    source="Wire",
    sentiment=Decimal("-0.4"),
)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, True),
        ({"keywords": ["aapl", "tesla"]}, True),
        ({"keywords": ["basis points"]}, True),
        ({"keywords": ["rate"]}, False),
        ({"keywords": ["(aapl)"]}, True),
        ({"excluded": ["hike"]}, False),
        ({"sources": ["wire"]}, True),
        ({"sources": ["blog"]}, False),
        ({"sentiment_below": -0.3}, True),
        ({"sentiment_below": -0.4}, False),
        ({"sentiment_above": 0}, False),
        ({"keywords": "apple"}, False),
        ({"sentiment_below": "low"}, False),
    ],
)
def test_an_article_matches_by_whole_words_source_and_mood(
    conditions: dict[str, Any], expected: bool
) -> None:
    assert matches(conditions, ARTICLE) is expected


def test_an_article_without_a_mood_meets_no_condition_on_it() -> None:
    calm = ArticleSeen(key="1", title="Nothing", at=START)
    assert not matches({"sentiment_below": 1}, calm)


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"keywords": "apple"}, "conditions.keywords"),
        ({"excluded": [1]}, "conditions.excluded"),
        ({"within_days": "seven"}, "conditions.within_days"),
        ({"sentiment_below": True}, "conditions.sentiment_below"),
    ],
)
def test_conditions_of_the_wrong_kind_are_refused_by_name(
    conditions: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        check_conditions(conditions)
    assert refused.value.field == field
