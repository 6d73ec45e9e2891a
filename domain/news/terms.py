"""The vocabularies of news: kinds of event, impacts, frequencies. No logic, no I/O."""

from enum import IntEnum, StrEnum


class Impact(IntEnum):
    """How much an event is expected to move prices."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Frequency(StrEnum):
    """How often a series is observed."""

    DAILY = "daily"
    WEEKLY = "weekly"
    BIWEEKLY = "biweekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    SEMIANNUAL = "semiannual"
    ANNUAL = "annual"
