"""The vocabularies of alerts: conditions, modes, states, channels, kinds. No logic, no I/O."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Condition(StrEnum):
    """When a value makes a rule true.

    ``ABOVE``, ``BELOW`` and ``OUTSIDE`` are strict, ``BETWEEN`` includes its ends. ``CROSSES_*``
    need a value on the other side first. ``PCT_CHANGE`` is the absolute move in percent from the
    observation's previous value, else from the last one seen. ``CUSTOM`` is decided by whoever
    observes: any value but zero.
    """

    ABOVE = "above"
    BELOW = "below"
    CROSSES_ABOVE = "crosses_above"
    CROSSES_BELOW = "crosses_below"
    CROSSES = "crosses"
    PCT_CHANGE = "pct_change"
    BETWEEN = "between"
    OUTSIDE = "outside"
    EQUALS = "equals"
    CUSTOM = "custom"


CROSSINGS: Final = frozenset({Condition.CROSSES_ABOVE, Condition.CROSSES_BELOW, Condition.CROSSES})
RANGES: Final = frozenset({Condition.BETWEEN, Condition.OUTSIDE})


class TriggerMode(StrEnum):
    """How often a rule may fire.

    ``ONCE`` ends it. ``EVERY`` fires whenever it comes true again. ``ONCE_PER_BAR`` and
    ``ONCE_PER_DAY`` fire once in each bar or UTC day in which it is true.
    """

    ONCE = "once"
    EVERY = "every"
    ONCE_PER_BAR = "once_per_bar"
    ONCE_PER_DAY = "once_per_day"


class AlertStatus(StrEnum):
    """Whether a rule is watched. Only ``ACTIVE`` rules are."""

    ACTIVE = "active"
    TRIGGERED = "triggered"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Severity(StrEnum):
    """How much it matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Channel(StrEnum):
    """Where a firing is told."""

    DISCORD = "discord"
    EMAIL = "email"
    SLACK = "slack"
    PUSH = "push"
    TELEGRAM = "telegram"
    WEBHOOK = "webhook"
    SMS = "sms"


@dataclass(frozen=True, slots=True)
class AlertType:
    """What kind of value a rule watches.

    Args:
        word: What is stored.
        meaning: The value, with its unit.
    """

    word: str
    meaning: str


PRICE: Final = "price"
NEWS: Final = "news"
EARNINGS: Final = "earnings"
DTE: Final = "dte"
ASSIGNMENT_RISK: Final = "assignment_risk"
SYSTEM: Final = "system"

ALERT_TYPES: Final[dict[str, AlertType]] = {
    kind.word: kind
    for kind in (
        AlertType(PRICE, "last price, quote currency a unit"),
        AlertType(NEWS, "1 when an article matches the rule's conditions"),
        AlertType(EARNINGS, "days until the issuer reports"),
        AlertType(DTE, "days until the contract expires"),
        AlertType(ASSIGNMENT_RISK, "how far a short option is in the money, quote currency a unit"),
        AlertType("delta", "delta, -1 to 1 a unit"),
        AlertType("gamma", "gamma, change of delta a unit of the underlying's price"),
        AlertType("theta", "theta, quote currency a day"),
        AlertType("vega", "vega, quote currency a percentage point of volatility"),
        AlertType("rho", "rho, quote currency a percentage point of interest"),
        AlertType("implied_volatility", "implied volatility, 0.25 is 25 percent a year"),
        AlertType("volume", "units traded"),
        AlertType("pnl", "profit, currency of the portfolio"),
        AlertType("drawdown", "loss from the peak, percent"),
        AlertType(SYSTEM, "raised by a program, not by a rule"),
    )
}
"""The kinds that are known; `register` adds others. Any word may be stored."""


def register(kind: AlertType) -> None:
    """Make a kind of alert known, so that pages can say what its value means."""
    ALERT_TYPES[kind.word] = kind
