"""Journal entries, setups and tags."""

from datetime import date
from typing import Any
from uuid import UUID

from domain.database import Worker
from domain.journal.models import JournalEntry, Setup

MONDAY = date(2024, 1, 8)


async def make_setup(unit: Worker, user_id: UUID, name: str = "Breakout") -> Setup:
    setup = unit.setups.add(
        Setup(
            user_id=user_id,
            name=name,
            rules="Close above the 20-day high on rising volume",
            checklist=["Is the market above its 50-day average?", "Is the stop set?"],
        )
    )
    await unit.flush()
    return setup


def new_entry(user_id: UUID, **values: Any) -> JournalEntry:
    """Return an entry that is not stored yet."""
    values.setdefault("entry_on", MONDAY)
    return JournalEntry(user_id=user_id, **values)


async def make_entry(unit: Worker, user_id: UUID, **values: Any) -> JournalEntry:
    entry = unit.journal_entries.add(new_entry(user_id, **values))
    await unit.flush()
    return entry
