"""When a rule fires: pure functions from a rule, its state and a value to the next state.

`domain.alerts.evaluating` does the same in one SQL statement for thousands of rules; a property
test holds the two together. No database, no clock: every time is the observation's own.

The rule in words:

- A value that is not newer than the last one seen changes nothing. What carries a `key`, such as
  an article, is told apart by it instead, and may come late.
- An armed rule fires when it is true, has been for `sustain`, and is not silent: snoozed, cooling
  down, or fired already in this bar or day. What is still true when the silence ends fires then.
- A rule that fired is armed again when a value was back beyond its limit by `hysteresis`. In the
  modes once per bar and once per day, a level is armed by the next bar or day as well.
- A crossing is true from the value that crossed until the value is back on the line.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from domain.alerts.terms import CROSSINGS, AlertStatus, Condition, TriggerMode
from domain.errors import InvalidData

_PERIODIC: Final = frozenset({TriggerMode.ONCE_PER_BAR, TriggerMode.ONCE_PER_DAY})
_EXACT: Final = Context(prec=200)  # a product of two numbers of 38 digits, with room
_ZERO: Final = Decimal(0)
_NEVER: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """What people set.

    Args:
        condition: When a value makes the rule true.
        threshold: The limit; None for ``custom`` only.
        threshold_high: The upper limit of ranges.
        hysteresis: How far back beyond the limit arms it again, at least 0.
        trigger_mode: How often it may fire.
        cooldown: Silence after a firing.
        sustain: How long it must be true first.
        expires_at: First instant at which it is not watched any more.
        snoozed_until: Silent before this instant.
    """

    condition: Condition
    threshold: Decimal | None = None
    threshold_high: Decimal | None = None
    hysteresis: Decimal = _ZERO
    trigger_mode: TriggerMode = TriggerMode.ONCE
    cooldown: timedelta = _NEVER
    sustain: timedelta = _NEVER
    expires_at: datetime | None = None
    snoozed_until: datetime | None = None

    @property
    def limit(self) -> Decimal:
        """The threshold; zero for ``custom``."""
        return _ZERO if self.threshold is None else self.threshold

    @property
    def upper(self) -> Decimal:
        """The upper limit of a range."""
        return self.limit if self.threshold_high is None else self.threshold_high


@dataclass(frozen=True, slots=True)
class State:
    """What watching remembers; the columns of the same names say what each is."""

    status: AlertStatus = AlertStatus.ACTIVE
    is_armed: bool = True
    last_value: Decimal | None = None
    last_evaluated_at: datetime | None = None
    condition_since: datetime | None = None
    last_triggered_at: datetime | None = None
    last_period_at: datetime | None = None
    trigger_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One value of one thing at one instant.

    Args:
        alert_type: Kind of value: only rules of this kind look at it.
        value: The value, in the unit of the kind.
        at: Its instant, UTC.
        instrument_id: The instrument it is about.
        portfolio_id: Or the portfolio.
        position_id: Or the position.
        alert_id: Or only this rule, found by the observer.
        previous: The value before it, such as yesterday's close.
        bar_at: Start of the bar it belongs to, UTC; default: its minute.
        key: Tells events apart that have no order, such as an article's id.
        note: What a message may add, such as a headline.
    """

    alert_type: str
    value: Decimal
    at: datetime
    instrument_id: UUID | None = None
    portfolio_id: UUID | None = None
    position_id: UUID | None = None
    alert_id: UUID | None = None
    previous: Decimal | None = None
    bar_at: datetime | None = None
    key: str | None = None
    note: str | None = None

    @property
    def subject_id(self) -> UUID | None:
        """What it is about: the position, else the instrument, else the portfolio."""
        return self.position_id or self.instrument_id or self.portfolio_id


@dataclass(frozen=True, slots=True)
class Step:
    """What an observation did to a rule.

    Args:
        state: The next state.
        fires: Whether the rule fired.
        previous: The value that it was compared with.
    """

    state: State
    fires: bool = False
    previous: Decimal | None = None


def step(rule: Rule, state: State, seen: Observation) -> Step:
    """Return what `seen` does to a rule in `state`."""
    if state.status is not AlertStatus.ACTIVE or _is_old(state, seen):
        return Step(state)
    if rule.expires_at is not None and seen.at >= rule.expires_at:
        return Step(replace(state, status=AlertStatus.EXPIRED))
    with localcontext(_EXACT):
        previous = _previous(rule, state, seen)
        is_armed = state.is_armed or _arms(rule, state, seen, previous)
        since = _since(rule, state, seen, (previous, is_armed))
    fires = is_armed and _is_sustained(rule, seen, since) and not _is_silent(rule, state, seen)
    return Step(_moved(rule, state, seen, (is_armed, since, fires)), fires, previous)


def fold(rule: Rule, state: State, observations: Iterable[Observation]) -> tuple[State, int]:
    """Return the state after all `observations`, in their order, and how often it fired."""
    firings = 0
    for seen in observations:
        taken = step(rule, state, seen)
        state = taken.state
        firings += taken.fires
    return state, firings


def _is_old(state: State, seen: Observation) -> bool:
    last = state.last_evaluated_at
    return seen.key is None and last is not None and seen.at <= last


def _previous(rule: Rule, state: State, seen: Observation) -> Decimal | None:
    # A percentage is measured from what the observer names; a crossing from what the rule saw.
    first, second = state.last_value, seen.previous
    if rule.condition is Condition.PCT_CHANGE:
        first, second = second, first
    return second if first is None else first


def _period(rule: Rule, seen: Observation) -> datetime | None:
    if rule.trigger_mode is TriggerMode.ONCE_PER_DAY:
        return seen.at.replace(hour=0, minute=0, second=0, microsecond=0)
    if rule.trigger_mode is TriggerMode.ONCE_PER_BAR:
        return seen.bar_at or seen.at.replace(second=0, microsecond=0)
    return None


def _arms(rule: Rule, state: State, seen: Observation, previous: Decimal | None) -> bool:
    if seen.key is not None:
        return True
    if rule.trigger_mode in _PERIODIC and rule.condition not in CROSSINGS:
        return _period(rule, seen) != state.last_period_at or _is_back(rule, seen.value, previous)
    return _is_back(rule, seen.value, previous)


def _is_back(rule: Rule, value: Decimal, previous: Decimal | None) -> bool:
    return _BACK[rule.condition](rule, value, previous)


def _holds(rule: Rule, value: Decimal, previous: Decimal | None) -> bool:
    return _TRUE[rule.condition](rule, value, previous)


def _moves(rule: Rule, value: Decimal, previous: Decimal | None) -> bool:
    # Multiplied out: a quotient would be rounded. From zero there is no percentage.
    if not previous:
        return False
    return abs(value - previous) * 100 >= rule.limit * abs(previous)


def _is_calm(rule: Rule, value: Decimal, previous: Decimal | None) -> bool:
    if not previous or _moves(rule, value, previous):
        return False
    return abs(value - previous) * 100 <= (rule.limit - rule.hysteresis) * abs(previous)


def _is_under(rule: Rule, value: Decimal, _: Decimal | None) -> bool:
    return value <= rule.limit - rule.hysteresis


def _is_over(rule: Rule, value: Decimal, _: Decimal | None) -> bool:
    return value >= rule.limit + rule.hysteresis


def _is_away(rule: Rule, value: Decimal, _: Decimal | None) -> bool:
    return abs(value - rule.limit) >= rule.hysteresis


def _is_out(rule: Rule, value: Decimal, _: Decimal | None) -> bool:
    low, high, slack = rule.limit, rule.upper, rule.hysteresis
    return (value < low and value <= low - slack) or (value > high and value >= high + slack)


_Judge = Callable[[Rule, Decimal, Decimal | None], bool]
_TRUE: Final[Mapping[Condition, _Judge]] = {
    Condition.ABOVE: lambda rule, value, _: value > rule.limit,
    Condition.BELOW: lambda rule, value, _: value < rule.limit,
    Condition.BETWEEN: lambda rule, value, _: rule.limit <= value <= rule.upper,
    Condition.OUTSIDE: lambda rule, value, _: not rule.limit <= value <= rule.upper,
    Condition.EQUALS: lambda rule, value, _: value == rule.limit,
    Condition.PCT_CHANGE: _moves,
    Condition.CUSTOM: lambda _, value, __: value != 0,
}
_BACK: Final[Mapping[Condition, _Judge]] = {
    Condition.ABOVE: _is_under,
    Condition.CROSSES_ABOVE: _is_under,
    Condition.BELOW: _is_over,
    Condition.CROSSES_BELOW: _is_over,
    Condition.CROSSES: _is_away,
    Condition.EQUALS: lambda rule, value, _: value != rule.limit and _is_away(rule, value, None),
    Condition.BETWEEN: _is_out,
    Condition.OUTSIDE: lambda rule, value, _: (
        rule.limit + rule.hysteresis <= value <= rule.upper - rule.hysteresis
    ),
    Condition.PCT_CHANGE: _is_calm,
    Condition.CUSTOM: lambda _, __, ___: True,
}


def _crossed(rule: Rule, value: Decimal, previous: Decimal | None) -> bool:
    if previous is None:
        return False
    up = previous <= rule.limit < value and rule.condition is not Condition.CROSSES_BELOW
    down = previous >= rule.limit > value and rule.condition is not Condition.CROSSES_ABOVE
    return up or down


def _stays(rule: Rule, value: Decimal, previous: Decimal | None) -> bool:
    if rule.condition is Condition.CROSSES_ABOVE:
        return value > rule.limit
    if rule.condition is Condition.CROSSES_BELOW:
        return value < rule.limit
    return previous is not None and (value - rule.limit) * (previous - rule.limit) > 0


def _since(
    rule: Rule, state: State, seen: Observation, judged: tuple[Decimal | None, bool]
) -> datetime | None:
    """Return since when the rule has been true; None: it is not."""
    previous, is_armed = judged
    if rule.condition in CROSSINGS:
        if is_armed and _crossed(rule, seen.value, previous):
            return seen.at
        stays = state.condition_since is not None and _stays(rule, seen.value, previous)
        return state.condition_since if stays else None
    if not _holds(rule, seen.value, previous):
        return None
    return seen.at if seen.key is not None else state.condition_since or seen.at


def _is_sustained(rule: Rule, seen: Observation, since: datetime | None) -> bool:
    if since is None:
        return False
    return seen.key is not None or seen.at - since >= rule.sustain


def _is_silent(rule: Rule, state: State, seen: Observation) -> bool:
    if rule.snoozed_until is not None and seen.at < rule.snoozed_until:
        return True
    last = state.last_triggered_at
    if last is not None and rule.cooldown and seen.at < last + rule.cooldown:
        return True
    period = _period(rule, seen)
    return period is not None and period == state.last_period_at


def _moved(
    rule: Rule, state: State, seen: Observation, judged: tuple[bool, datetime | None, bool]
) -> State:
    is_armed, since, fires = judged
    last = state.last_evaluated_at
    is_newest = last is None or seen.at >= last
    moved = replace(
        state,
        is_armed=is_armed,
        condition_since=since,
        last_value=seen.value if is_newest else state.last_value,
        last_evaluated_at=seen.at if is_newest else last,
    )
    return _fired(rule, moved, seen) if fires else moved


def _fired(rule: Rule, state: State, seen: Observation) -> State:
    fired_at = state.last_triggered_at
    ends = rule.trigger_mode is TriggerMode.ONCE
    return replace(
        state,
        status=AlertStatus.TRIGGERED if ends else state.status,
        is_armed=False,
        condition_since=None if rule.condition in CROSSINGS else state.condition_since,
        last_triggered_at=seen.at if fired_at is None else max(fired_at, seen.at),
        last_period_at=_period(rule, seen),
        trigger_count=state.trigger_count + 1,
    )


# ── articles ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleSeen:
    """What a rule may ask of an article.

    Args:
        key: The article's id or address: an article fires a rule once.
        title: Headline.
        at: When it was published, UTC.
        text: Summary and text.
        source: Publisher.
        sentiment: -1 to 1.
        instrument_ids: What it is about.
    """

    key: str
    title: str
    at: datetime
    text: str = ""
    source: str | None = None
    sentiment: Decimal | None = None
    instrument_ids: frozenset[UUID] = frozenset()


_LISTS: Final = ("keywords", "excluded", "sources")
_NUMBERS: Final = ("sentiment_below", "sentiment_above", "within_days")


def check_conditions(conditions: Mapping[str, Any]) -> None:
    """Refuse conditions that could never be met as they are written.

    Known are ``keywords``, ``excluded`` and ``sources`` (lists of words), ``sentiment_below``,
    ``sentiment_above`` and ``within_days`` (numbers). Anything else is the observer's own.

    Raises:
        InvalidData: One of them is of another type.
    """
    for name in _LISTS:
        if name in conditions and _words(conditions[name]) is None:
            raise InvalidData(f"conditions.{name}", conditions[name], "be a list of words")
    for name in _NUMBERS:
        if name in conditions and _number(conditions[name]) is None:
            raise InvalidData(f"conditions.{name}", conditions[name], "be a number")


def matches(conditions: Mapping[str, Any], article: ArticleSeen) -> bool:
    """Return whether an article meets the conditions of a rule; a malformed one is not met."""
    lists = {name: _words(conditions.get(name, [])) for name in _LISTS}
    numbers = {name: _number(conditions[name]) for name in _NUMBERS if name in conditions}
    if None in lists.values() or None in numbers.values():
        return False
    body = f"{article.title}\n{article.text}".casefold()
    wanted, unwanted, sources = (lists[name] or () for name in _LISTS)
    return (
        (not wanted or any(_mentions(word, body) for word in wanted))
        and not any(_mentions(word, body) for word in unwanted)
        and (not sources or (article.source or "").casefold() in sources)
        and _has_mood(article.sentiment, numbers)
    )


def _has_mood(sentiment: Decimal | None, numbers: Mapping[str, Decimal | None]) -> bool:
    below, above = numbers.get("sentiment_below"), numbers.get("sentiment_above")
    if below is None and above is None:
        return True
    if sentiment is None:
        return False
    return (below is None or sentiment < below) and (above is None or sentiment > above)


def _words(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        return None
    return tuple(item.casefold() for item in value)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = Decimal(str(value))
    return found if found.is_finite() else None


def _mentions(word: str, body: str) -> bool:
    return word in body and _whole(word).search(body) is not None


@lru_cache(maxsize=10_000)
def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
