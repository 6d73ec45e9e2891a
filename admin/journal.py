"""Views of the journal. Profit of entries with linked trades is the ledger's, and not edited."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, func

from admin.attaching import is_picture
from admin.market_boards import has_bars
from admin.records import Inline, RecordView, Related
from admin.translating import gettext
from domain.clock import now
from domain.database import Reader
from domain.journal.models import (
    Attachment,
    EntryTag,
    EntryTrade,
    JournalEntry,
    Setup,
    Tag,
)

_CATEGORY = "Journal"

_WHAT = ("entry_on", "kind", "title", "portfolio_id", "instrument_id", "setup_id")
_PLAN = (
    "strategy",
    "direction",
    "planned_entry",
    "planned_stop",
    "planned_target",
    "initial_risk",
    "thesis",
    "legs",
)
_TRADE = ("entry_at", "entry_price", "exit_on", "exit_at", "exit_price", "mae", "mfe")
_RESULT = ("pnl", "pnl_percent", "fees", "currency")
_REVIEW = ("rating", "satisfied", "followed_plan", "emotion", "notes", "lessons")


class JournalEntryView(RecordView, model=JournalEntry):
    """Journal entries."""

    name, name_plural, path = "Journal entry", "Journal entries", "journal-entries"
    board, panel = "boards/journal_entry.html", "panels/journal_entry.html"
    board_shows = ("attachments", "bars", "trades")
    category = _CATEGORY
    about = "What was planned, done, felt and learned. Profit of linked trades is the ledger's."
    columns = (
        "entry_on",
        "title",
        "kind",
        "instrument",
        "setup",
        "strategy",
        "pnl",
        "currency",
        "r_multiple",
        "rating",
    )
    order = (JournalEntry.entry_on, JournalEntry.id)
    is_found_by_name = True
    search = (JournalEntry.title,)
    search_hint = "Words of title, thesis, notes…"
    filters = ("kind",)
    keys = ("portfolio_id", "instrument_id", "position_id", "setup_id", "analysis_id", "user_id")
    pickers = ("instrument_id", "user_id")
    time_column = "entry_on"
    editable = (*_WHAT, *_PLAN, *_TRADE, *_RESULT, *_REVIEW)
    creatable = ("user_id", *_WHAT, *_PLAN, *_TRADE, *_RESULT, *_REVIEW)
    sections = (
        ("Plan", _PLAN),
        ("Trade", _TRADE),
        ("Result", _RESULT),
        ("Review", _REVIEW),
    )
    is_deletable = True
    inlines = (
        Inline("Tags", "entry-tags", "entry_id", same=("user_id",)),
        Inline("Files", "attachments", "entry_id", same=("user_id",)),
    )
    related = (
        Related("Linked trades", "entry-trades", "entry_id", is_shown=True),
        Related("Tags", "entry-tags", "entry_id", is_shown=True),
        Related("Files", "attachments", "entry_id"),
    )

    def defaults(self) -> Mapping[str, Any]:
        """Return what a new entry starts with: most are written on their day."""
        return {"entry_on": now().date(), **super().defaults()}

    async def board_of(self, unit: Reader, record: Any) -> Mapping[str, Any]:
        """Return the files, and whether the course of what was traded can be drawn."""
        files = await unit.attachments.of(record)
        pictures = [file for file in files if is_picture(file.content_type)]
        charted = record.instrument and await has_bars(unit, record.instrument)
        return {"files": files, "pictures": pictures, "has_bars": charted}

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for entries whose texts hold these words."""
        wanted = func.websearch_to_tsquery("english", text.strip())
        return JournalEntry.search.op("@@")(wanted)


class SetupView(RecordView, model=Setup):
    """Setups."""

    name, name_plural, path = "Setup", "Setups", "setups"
    category = _CATEGORY
    about = "Ways to trade that are repeated on purpose, with their rules."
    columns = ("name", "rules", "archived_at")
    prose = ("rules",)
    order = (Setup.id,)
    is_found_by_name = True
    search = (Setup.name,)
    search_hint = "Name begins with…"
    keys = ("user_id",)
    editable = ("name", "rules", "checklist", "archived_at")
    creatable = ("user_id", "name", "rules", "checklist")
    is_deletable = True
    related = (Related("Entries", "journal-entries", "setup_id", same=("user_id",), is_shown=True),)


class TagView(RecordView, model=Tag):
    """Tags."""

    name, name_plural, path = "Tag", "Tags", "tags"
    category = _CATEGORY
    about = "Words that entries share: setups, mistakes, emotions, markets, outcomes."
    columns = ("name", "category", "color")
    order = (Tag.id,)
    search = (Tag.name,)
    search_hint = "Name begins with…"
    filters = ("category",)
    keys = ("user_id",)
    editable = ("name", "category", "color")
    creatable = ("user_id", "name", "category", "color")
    is_deletable = True
    related = (Related("Entries", "entry-tags", "tag_id", is_shown=True),)

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for names in any case; tags are few."""
        return Tag.name.istartswith(text.strip(), autoescape=True)


class EntryTagView(RecordView, model=EntryTag):
    """Tags of entries."""

    name, name_plural, path = "Tag of an entry", "Tags of entries", "entry-tags"
    category = _CATEGORY
    about = "Which entries have which tags."
    is_part = True
    columns = ("entry", "tag")
    order = (EntryTag.entry_id, EntryTag.tag_id)
    keys = ("entry_id", "tag_id")
    creatable = ("user_id", "entry_id", "tag_id")
    is_deletable = True

    def option(self, record: Any) -> str:
        """Return the tag."""
        return str(record.tag)

    def heading(self, record: Any) -> str:
        """Return ``winner on the entry``."""
        return gettext("%(tag)s on %(entry)s", tag=record.tag, entry=record.entry)


class EntryTradeView(RecordView, model=EntryTrade):
    """Linked trades."""

    name, name_plural, path = "Linked trade", "Linked trades", "entry-trades"
    category = _CATEGORY
    about = "Which trades an entry describes. They are linked by the library."
    is_part = True
    hint = "link_trades(unit, entry, trades)"
    columns = ("entry", "trade", "role", "leg")
    order = (EntryTrade.entry_id, EntryTrade.trade_id)
    filters = ("role",)
    keys = ("entry_id", "trade_id")

    def heading(self, record: Any) -> str:
        """Return ``buy 10 @ 190.25 of the entry``."""
        return gettext("%(trade)s of %(entry)s", trade=record.trade, entry=record.entry)


class AttachmentView(RecordView, model=Attachment):
    """Attachments."""

    name, name_plural, path = "Attachment", "Attachments", "attachments"
    powers = ("create", "delete")
    category = _CATEGORY
    about = "Screenshots and files of entries; their bytes are in the object store."
    columns = ("filename", "entry", "content_type", "size", "caption", "created_at")
    order = (Attachment.id,)
    keys = ("entry_id", "user_id")
    editable = ("caption", "sort_order")
    is_part = True
    hint = "attach(unit, staged, entry, file)"

    def option(self, record: Any) -> str:
        """Return the file's name."""
        return str(record.filename)


VIEWS = (
    JournalEntryView,
    SetupView,
    TagView,
    EntryTradeView,
    EntryTagView,
    AttachmentView,
)
