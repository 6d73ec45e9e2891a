"""The statement in the database decides as the pure functions do, whatever happens in between."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import Database
from domain.alerts import rules
from domain.alerts.evaluating import evaluate
from domain.alerts.matching import Observation, Rule, State, step
from domain.alerts.rules import rule_of, state_of
from domain.alerts.terms import RANGES, AlertStatus, Condition, TriggerMode
from tests.factories.alerts import make_alert
from tests.factories.market import make_instrument
from tests.factories.trading import open_account

# Half an hour before midnight, so that days and bars end inside a history.
START = datetime(2024, 3, 15, 23, 30, tzinfo=UTC)

# Few values and whole minutes: limits and instants must be met exactly, not only passed.
halves = st.integers(-2, 13).map(lambda number: Decimal(number) / 2)
seconds = st.integers(0, 20).map(lambda number: number * 180)
spans = st.sampled_from([0, 0, 180, 360, 900]).map(lambda number: timedelta(seconds=number))
instants = seconds.map(lambda number: START + timedelta(seconds=number))


@st.composite
def rule_sets(draw: st.DrawFn) -> Rule:
    condition = draw(st.sampled_from(Condition))
    low = Decimal(draw(st.integers(1, 3)))
    high = low + draw(st.integers(1, 3)) if condition in RANGES else None
    slack = Decimal(draw(st.sampled_from(["0", "0.5", "1"])))
    if high is not None:
        slack = min(slack, (high - low) / 2)
    if condition is Condition.PCT_CHANGE:
        low *= 25
        slack *= 25
    return Rule(
        condition,
        None if condition is Condition.CUSTOM else low,
        high,
        slack,
        draw(st.sampled_from(TriggerMode)),
        draw(spans),
        draw(spans),
        draw(st.none() | instants),
        draw(st.none() | instants),
    )


@dataclass(frozen=True)
class Seen:
    value: Decimal
    second: int
    previous: Decimal | None = None
    bar: int | None = None
    key: str | None = None

    def observation(self, instrument_id: UUID) -> Observation:
        return Observation(
            alert_type="price",
            instrument_id=instrument_id,
            value=self.value,
            previous=self.previous,
            at=START + timedelta(seconds=self.second),
            bar_at=None if self.bar is None else START + timedelta(minutes=self.bar),
            key=self.key,
        )


sights = st.builds(
    Seen,
    halves,
    seconds,
    st.none() | halves,
    st.none() | st.integers(0, 3),
    st.sampled_from([None] * 6 + ["a", "b", "c", "d"]),
)
in_order = st.lists(sights, min_size=1, max_size=8).map(
    lambda found: sorted(found, key=lambda seen: seen.second)
)
batches = in_order | in_order | st.lists(sights, min_size=1, max_size=8)
edits = (
    st.tuples(st.just("snooze"), st.none() | instants)
    | st.tuples(st.just("expire"), st.none() | instants)
    | st.tuples(st.sampled_from(["pause", "resume", "resume", "cancel"]), st.none())
)
histories = st.lists(st.tuples(st.just("see"), batches) | edits, min_size=2, max_size=14)


@dataclass
class Model:
    """A rule as the pure functions see it, with the events it was told of."""

    rule: Rule
    state: State = field(default_factory=State)
    told: set[str] = field(default_factory=set)
    firings: list[tuple[datetime, Decimal]] = field(default_factory=list)

    def see(self, batch: Sequence[Observation]) -> None:
        for seen in self._queue(batch):
            taken = step(self.rule, self.state, seen)
            self.state = taken.state
            if taken.fires:
                self.firings.append((seen.at, seen.value))
                if seen.key is not None:
                    self.told.add(seen.key)

    def _queue(self, batch: Sequence[Observation]) -> list[Observation]:
        last = self.state.last_evaluated_at
        kept = {seen.key or seen.at: seen for seen in batch}
        return [
            seen
            for seen in sorted(kept.values(), key=lambda seen: (seen.at, seen.key or ""))
            if (seen.key not in self.told if seen.key else last is None or seen.at > last)
        ]

    def edit(self, action: str, instant: datetime | None) -> None:
        if action == "snooze":
            self.rule = replace(self.rule, snoozed_until=instant)
        elif action == "expire":
            self.rule = replace(self.rule, expires_at=instant)
        elif action == "pause":
            self.state = replace(self.state, status=AlertStatus.PAUSED)
        elif action == "cancel":
            self.state = replace(self.state, status=AlertStatus.CANCELLED)
        else:
            self._resume()

    def _resume(self) -> None:
        self.rule = replace(self.rule, expires_at=None)
        if self.state.status is not AlertStatus.ACTIVE:
            self.rule = replace(self.rule, snoozed_until=None)
            self.state = replace(
                self.state,
                status=AlertStatus.ACTIVE,
                is_armed=True,
                last_value=None,
                condition_since=None,
            )


async def act(unit: Any, alert_id: UUID, action: str, instant: datetime | None) -> None:
    if action == "snooze":
        await rules.snooze(unit, alert_id, until=instant)
    elif action == "expire":
        await unit.alerts.patch(alert_id, expires_at=instant)
    elif action == "pause":
        await rules.pause(unit, alert_id)
    elif action == "cancel":
        await rules.cancel(unit, alert_id)
    else:
        await unit.alerts.patch(alert_id, expires_at=None)
        await rules.resume(unit, alert_id)


@given(st.lists(rule_sets(), min_size=8, max_size=14), histories)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_history_ends_as_the_model_says(
    db: Database, watched: list[Rule], history: list[tuple[str, Any]]
) -> None:
    async with db.transaction(system="test") as unit:
        found = await unit.users.by_username("ada")
        instrument = await make_instrument(unit, f"T{await unit.instruments.count()}")
    user_id = found.id if found else (await open_account(db)).user.id
    async with db.transaction(user=user_id) as unit:
        alerts = [await make_alert(unit, instrument, **columns(rule)) for rule in watched]
    models = [Model(rule) for rule in watched]

    for action, given_value in history:
        async with db.transaction(user=user_id) as unit:
            if action == "see":
                batch = [seen.observation(instrument.id) for seen in given_value]
                await evaluate(unit, batch)
                for model in models:
                    model.see(batch)
            else:
                for alert, model in zip(alerts, models, strict=True):
                    await act(unit, alert.id, action, given_value)
                    model.edit(action, given_value)

    async with db.read(user=user_id) as unit:
        for alert, model in zip(alerts, models, strict=True):
            stored = await unit.alerts.get(alert.id)
            assert rule_of(stored) == model.rule
            assert state_of(stored) == model.state
            page = await unit.alert_events.history(alert, limit=1000)
            events = sorted(page.items, key=lambda event: event.occurrence)
            told = [(event.triggered_at, event.observed_value) for event in events]
            assert told == model.firings


def columns(rule: Rule) -> dict[str, Any]:
    names = ("condition", "threshold", "threshold_high", "hysteresis", "trigger_mode")
    names += ("cooldown", "sustain", "expires_at", "snoozed_until")
    return {name: getattr(rule, name) for name in names}
