"""The closed vocabularies of the journal: kinds of entries, directions, tag categories, roles."""

from enum import StrEnum


class EntryKind(StrEnum):
    """What an entry is about."""

    TRADE = "trade"
    DAILY = "daily"
    WEEKLY = "weekly"
    IDEA = "idea"
    REVIEW = "review"
    NOTE = "note"


class Direction(StrEnum):
    """What the trader expects of the price."""

    LONG = "long"
    SHORT = "short"
    NEUTRAL = "neutral"


class PnlSource(StrEnum):
    """Where an entry's profit comes from; ledger: it cannot be typed."""

    TYPED = "typed"
    LEDGER = "ledger"


class TagCategory(StrEnum):
    """What a tag is about."""

    GENERAL = "general"
    SETUP = "setup"
    MISTAKE = "mistake"
    EMOTION = "emotion"
    MARKET = "market"
    OUTCOME = "outcome"


class TradeRole(StrEnum):
    """What a linked trade did for the idea."""

    ENTRY = "entry"
    SCALE_IN = "scale_in"
    SCALE_OUT = "scale_out"
    EXIT = "exit"
    HEDGE = "hedge"
    ADJUSTMENT = "adjustment"
