"""What the cache counts: per declared answer, in this process."""

from collections import Counter
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a read or a fill."""

    HIT = "hits"
    MISS = "misses"
    """Loaded by this process and offered to the store."""
    JOIN = "joins"
    """Waited for a load that was under way."""
    REJECTED = "rejected_fills"
    """Loaded, and not stored, because a writer came between."""
    BYPASS = "bypasses"
    """Loaded and kept out: a writer in flight, uncommitted writes of the caller, or no server."""
    STALE = "stale_served"
    """Past its time and served, because loading failed or took long; never older than a commit."""
    EAGER = "eager_refreshes"
    """Loaded anew in the background before it expired."""


class Statistics:
    """Counts outcomes by answer, once a read: so each has a counter of its own, by name."""

    def __init__(self) -> None:
        self._counters: dict[Outcome, Counter[str]] = {outcome: Counter() for outcome in Outcome}
        self._handed_over: Counter[tuple[str, Outcome]] = Counter()
        self.hits = self._counters[Outcome.HIT]

    @property
    def counts(self) -> "Counter[tuple[str, Outcome]]":
        """What was counted so far, by answer and outcome."""
        return Counter(
            {
                (name, outcome): number
                for outcome, counter in self._counters.items()
                for name, number in counter.items()
            }
        )

    def count(self, name: str, outcome: Outcome) -> None:
        """Count one outcome of the answer called `name`."""
        self._counters[outcome][name] += 1

    def total(self, outcome: Outcome) -> int:
        """Return how often `outcome` happened, over all answers."""
        return self._counters[outcome].total()

    def take(self) -> "Counter[tuple[str, Outcome]]":
        """Return what was counted since the last time; give it back when it got lost."""
        counted = self.counts
        fresh = counted - self._handed_over
        self._handed_over = counted
        return fresh

    def give_back(self, taken: "Counter[tuple[str, Outcome]]") -> None:
        """Count as not handed over what `take` returned."""
        self._handed_over -= taken
