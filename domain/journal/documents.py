"""Entries as one JSON document, written and read back without loss.

Rows of other areas are named the way people and brokers name them, so that a document can be read
into another installation: portfolios by name, instruments by symbol, trades by source and key.
Amounts are strings. Files are in it when an object store is given.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Date, Uuid, bindparam, inspect, select, text
from sqlalchemy.orm import joinedload, selectinload

from domain.clock import as_utc
from domain.db.bulk import any_of
from domain.db.types import ExactNumeric, UtcDateTime
from domain.db.unit import Unit, UnitOfWork
from domain.errors import InvalidData
from domain.journal.attaching import NewFile, attach, read_attachment
from domain.journal.models import Attachment, EntryTag, EntryTrade, JournalEntry, Setup
from domain.journal.profit import refresh_profit
from domain.journal.recording import check_entry, tags_named
from domain.journal.repositories import JournalEntryRepository, SetupRepository
from domain.journal.terms import PnlSource, TagCategory, TradeRole
from domain.market.models import Instrument
from domain.market.repositories import InstrumentRepository
from domain.money import parse
from domain.storage import Folder, Staged
from domain.trading.models import Portfolio, Position, Trade

T = TypeVar("T")
Document = dict[str, Any]

VERSION: Final = 1

_REFERENCES: Final = frozenset({"user_id", "portfolio_id", "instrument_id", "position_id"})
_LEFT_OUT: Final = _REFERENCES | {"setup_id", "version", "updated_at", "pnl_source"}
_SET_LATER: Final = ("id", "created_at")
_COLUMNS: Final = {
    attribute.key: attribute.columns[0]
    for attribute in inspect(JournalEntry).column_attrs
    if attribute.key not in _LEFT_OUT and attribute.columns[0].computed is None
}


_ANALYSIS: Final = text(
    "SELECT id FROM research.analyses WHERE id = :id AND user_id = :user"
).bindparams(bindparam("id", type_=Uuid()), bindparam("user", type_=Uuid()))


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """What reading a document did: the new entries, and how many were there already."""

    entries: Sequence[JournalEntry]
    known: int


async def export_entries(
    unit: Unit, entries: Sequence[JournalEntry], *, storage: Folder | None = None
) -> Document:
    """Return entries as a document for `json.dumps`.

    Args:
        unit: Any unit that sees them.
        entries: Entries with keys; loaded anew with all that belongs to them.
        storage: Where files are; None leaves their bytes out.

    Raises:
        NotFound: A file's object is gone.
    """
    loaded = await unit.session.scalars(
        select(JournalEntry)
        .where(JournalEntry.id == any_of(entry.id for entry in entries))
        .options(
            joinedload(JournalEntry.instrument),
            joinedload(JournalEntry.setup),
            selectinload(JournalEntry.tags),
            selectinload(JournalEntry.attachments),
            selectinload(JournalEntry.links)
            .joinedload(EntryTrade.trade)
            .joinedload(Trade.portfolio),
        )
        .order_by(JournalEntry.entry_on, JournalEntry.id)
        .execution_options(populate_existing=True)
    )
    found = loaded.all()
    setups = {entry.setup.name: entry.setup for entry in found if entry.setup}
    return {
        "tradekeep_journal": VERSION,
        "setups": [
            {"name": setup.name, "rules": setup.rules, "checklist": setup.checklist}
            for setup in setups.values()
        ],
        "entries": [await _written(unit, entry, storage) for entry in found],
    }


async def read_entries(
    unit: UnitOfWork, user_id: UUID, document: Mapping[str, Any], *, staged: Staged | None = None
) -> ReadEntries:
    """Write the entries of a document; those whose id is known are left as they are.

    Args:
        unit: A unit of the owner, or a trusted one.
        user_id: The owner of what is written.
        document: What `export_entries` gave, perhaps through JSON.
        staged: Where files go; without it, files that have bytes are refused.

    Raises:
        InvalidData: The document is not one, or names a portfolio, instrument or trade that is not
            there. Roll the unit back.
    """
    if document.get("tradekeep_journal") != VERSION:
        raise InvalidData("tradekeep_journal", document.get("tradekeep_journal"), f"be {VERSION}")
    with _well_formed():
        setups = {item["name"]: await _setup(unit, user_id, item) for item in document["setups"]}
        reader = _Reader(unit, user_id, staged, setups)
        items = {UUID(item["id"]): item for item in document["entries"]}
        known = await unit.repository(JournalEntryRepository).many(items)
        written = [await reader.entry(item) for key, item in items.items() if key not in known]
    await refresh_profit(unit, written)
    return ReadEntries(written, len(known))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


async def _written(unit: Unit, entry: JournalEntry, storage: Folder | None) -> Document:
    is_booked = entry.pnl_source is PnlSource.LEDGER
    return {
        **{name: _plain(getattr(entry, name)) for name in _COLUMNS},
        "pnl_source": entry.pnl_source.value,
        "portfolio": await _name_of(unit, Portfolio, entry.portfolio_id),
        "instrument": None if entry.instrument is None else _instrument(entry.instrument),
        "position": await _position(unit, entry.position_id) if is_booked else None,
        "setup": None if entry.setup is None else entry.setup.name,
        "tags": [{"name": tag.name, "category": tag.category.value} for tag in entry.tags],
        "trades": [_link(link) for link in entry.links],
        "attachments": [await _file(item, storage) for item in entry.attachments],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | str) else value


def _instrument(instrument: Instrument) -> Document:
    return {
        name: getattr(instrument, name) for name in ("symbol", "kind", "exchange", "quote_currency")
    }


def _link(link: EntryTrade) -> Document:
    trade = link.trade
    return {
        "portfolio": trade.portfolio.name,
        "source": trade.source,
        "dedupe_key": trade.dedupe_key,
        "role": link.role.value,
        "leg": link.leg,
    }


async def _name_of(unit: Unit, model: type[Portfolio], key: UUID | None) -> str | None:
    return None if key is None else (await unit[model].get(key)).name


async def _position(unit: Unit, key: UUID | None) -> Document | None:
    if key is None:
        return None
    position = await unit[Position].get(
        key, joinedload(Position.portfolio), joinedload(Position.instrument)
    )
    return {
        "portfolio": position.portfolio.name,
        "instrument": _instrument(position.instrument),
        "strategy": position.strategy,
        "position_ref": position.position_ref,
        "cycle": position.cycle,
    }


async def _file(attachment: Attachment, storage: Folder | None) -> Document:
    content = None if storage is None else await read_attachment(storage, attachment)
    return {
        "filename": attachment.filename,
        "caption": attachment.caption,
        "annotations": attachment.annotations,
        "sha256": attachment.sha256.hex(),
        "content": None if content is None else base64.b64encode(content).decode("ascii"),
    }


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Reader:
    unit: UnitOfWork
    user_id: UUID
    staged: Staged | None
    setups: Mapping[str, Setup]

    async def entry(self, item: Mapping[str, Any]) -> JournalEntry:
        entry = await self._new(item)
        self.unit.session.add(entry)
        await self.unit.flush()
        for tag in item["tags"]:
            await self._tag(entry, tag)
        for link in item["trades"]:
            await self._link(entry, link)
        for file in item["attachments"]:
            await self._attach(entry, file)
        return entry

    async def _new(self, item: Mapping[str, Any]) -> JournalEntry:
        values = {name: _value(name, item[name]) for name in _COLUMNS}
        later = {name: values.pop(name) for name in _SET_LATER}
        values["analysis_id"] = await self._analysis(values["analysis_id"])
        if item["pnl_source"] == PnlSource.LEDGER:
            values |= {"pnl": None, "pnl_percent": None, "fees": None}
        setup = item["setup"]
        entry = JournalEntry(
            user_id=self.user_id,
            portfolio_id=await self._portfolio(item["portfolio"]),
            instrument_id=await self._instrument(item["instrument"]),
            position_id=await self._position(item["position"]),
            setup_id=None if setup is None else self.setups[setup].id,
            **values,
        )
        for name, value in later.items():
            setattr(entry, name, value)
        check_entry(entry)
        return entry

    async def _portfolio(self, name: str | None) -> UUID | None:
        if name is None:
            return None
        mine = self.unit[Portfolio].query(Portfolio.user_id == self.user_id)
        found = await self.unit[Portfolio].first(mine.where(Portfolio.name == name))
        return _required("portfolio", name, found).id

    async def _instrument(self, named: Mapping[str, Any] | None) -> UUID | None:
        if named is None:
            return None
        instruments = self.unit.repository(InstrumentRepository)
        same = [
            instrument
            for instrument in await instruments.by_symbol(named["symbol"])
            if _instrument(instrument) == dict(named)
        ]
        return _required("instrument", named["symbol"], next(iter(same), None)).id

    async def _position(self, named: Mapping[str, Any] | None) -> UUID | None:
        if named is None:
            return None
        positions = self.unit[Position]
        conditions = (
            Position.portfolio_id == await self._portfolio(named["portfolio"]),
            Position.instrument_id == await self._instrument(named["instrument"]),
            Position.cycle == named["cycle"],
            Position.strategy.is_not_distinct_from(named["strategy"]),
            Position.position_ref.is_not_distinct_from(named["position_ref"]),
        )
        found = await positions.first(positions.query(*conditions))
        return _required("position", named["instrument"]["symbol"], found).id

    async def _analysis(self, key: UUID | None) -> UUID | None:
        # Research is no room below this one: its rows are known by key only.
        return (
            await self.unit.session.execute(_ANALYSIS, {"id": key, "user": self.user_id})
        ).scalar()

    async def _tag(self, entry: JournalEntry, item: Mapping[str, Any]) -> None:
        category = TagCategory(item["category"])
        (tag,) = await tags_named(self.unit, self.user_id, [item["name"]], category=category)
        self.unit.session.add(EntryTag(user_id=self.user_id, entry_id=entry.id, tag_id=tag.id))

    async def _link(self, entry: JournalEntry, item: Mapping[str, Any]) -> None:
        portfolio = await self._portfolio(item["portfolio"])
        conditions = (
            Trade.user_id == self.user_id,
            Trade.portfolio_id == portfolio,
            Trade.source == item["source"],
            Trade.dedupe_key == item["dedupe_key"],
            Trade.status != "reverted",
        )
        found = await self.unit[Trade].first(self.unit[Trade].query(*conditions))
        trade = _required("trade", item["dedupe_key"], found)
        link = EntryTrade(
            user_id=self.user_id,
            entry_id=entry.id,
            trade_id=trade.id,
            role=TradeRole(item["role"]),
            leg=item["leg"],
        )
        self.unit.session.add(link)

    async def _attach(self, entry: JournalEntry, item: Mapping[str, Any]) -> None:
        if item["content"] is None:
            return
        if self.staged is None:
            raise InvalidData("staged", None, "be given for a document with files")
        content = _bytes(item["content"])
        file = NewFile(item["filename"], content, item["caption"], item["annotations"])
        attachment = await attach(self.unit, self.staged, entry, file)
        if attachment.sha256.hex() != item["sha256"]:
            raise InvalidData("attachments", item["filename"], "have the SHA-256 it was saved with")


async def _setup(unit: UnitOfWork, user_id: UUID, item: Mapping[str, Any]) -> Setup:
    setups = unit.repository(SetupRepository)
    mine = setups.query(Setup.user_id == user_id, Setup.name == item["name"])
    found = await setups.first(mine)
    if found is None:
        found = setups.add(Setup(user_id=user_id, **item))
        await unit.flush()
    return found


@contextmanager
def _well_formed() -> Iterator[None]:
    try:
        yield
    except InvalidData:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidData("document", str(error), "be what export_entries gave") from None


def _required(field: str, value: object, found: T | None) -> T:
    if found is None:
        raise InvalidData(field, value, "be there already")
    return found


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    for kind, read in _READERS:
        if isinstance(_COLUMNS[name].type, kind):
            return read(value, name)
    return value


def _instant(text: str, name: str) -> datetime:
    return as_utc(datetime.fromisoformat(text), name)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidData("content", text, "be Base64") from None


_READERS: Final[Sequence[tuple[type[Any], Callable[[Any, str], Any]]]] = (
    (ExactNumeric, parse),
    (UtcDateTime, _instant),
    (Date, lambda text, _: date.fromisoformat(text)),
    (Uuid, lambda text, _: UUID(text)),
)
