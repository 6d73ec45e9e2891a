"""Seals the history and proves that it is the one that was sealed.

A seal is the hash over the entries of a range of transactions and over the seal before it. It is
made after the fact, of transactions below the oldest one that still runs: nothing can appear there
any more, and no writer waits for it. Who changes a sealed entry, adds one or takes one away, by
whatever means, breaks the seal; who takes a seal away breaks the chain. Who takes away the newest
seals with their entries is found out by comparing with a hash that was kept elsewhere.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, bindparam, select, text

from domain.audit.declarations import ENTRIES_HASH
from domain.audit.models import Seal
from domain.audit.repositories import SealRepository
from domain.clock import now
from domain.db.connection import Connections
from domain.db.unit import Unit
from domain.errors import InvalidData

_MOST: Final = 200_000
"""Entries under one seal, but for a transaction that wrote more."""
_SEALS_AT_ONCE: Final = 500
_ENTRIES_AT_ONCE: Final = 200_000


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed.

    Args:
        seal: The number of the seal.
        what: What is wrong, as a sentence.
    """

    seal: int
    what: str


@dataclass(slots=True)
class Verified:
    """What a verification found.

    Args:
        seals: Seals that were recomputed.
        entries: Entries under them.
        unsealed: Entries that no seal covers yet.
        expired: Seals whose entries retention has dropped: of them the chain alone was checked.
        last: The newest seal; None: nothing was ever sealed.
        faults: What is wrong.
    """

    seals: int = 0
    entries: int = 0
    unsealed: int = 0
    expired: int = 0
    last: Seal | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in the range of a seal now."""

    count: int
    hash: str | None


async def seal(db: Connections[Any, Any]) -> list[Seal]:
    """Seal every entry of the transactions that have ended before the oldest that still runs.

    Any number of processes may call it at the same time.

    Returns:
        The new seals, oldest first. Keep the hash of the last one elsewhere.
    """
    made: list[Seal] = []
    while True:
        async with db.transaction(system="audit-seal") as unit:
            await unit.session.execute(_PATIENT)
            rows = select(Seal).from_statement(_SEAL)
            found = (await unit.session.scalars(rows, {"most": _MOST})).all()
        made.extend(found)
        # Not until there is nothing left: writers who never pause would be sealed bit by bit.
        if not found or found[0].entries_count < _MOST:
            return made


async def verify(
    unit: Unit, *, from_seal: str | None = None, keep: timedelta | None = None
) -> Verified:
    """Recompute the seals and compare.

    Args:
        unit: Of staff or a trusted job, in one snapshot: `Database.snapshot`.
        from_seal: The hash of a seal that was kept elsewhere: it must be there, and everything
            from it on is recomputed; None recomputes all.
        keep: How long entries are kept: older ones may be gone, none of the rest.

    Raises:
        InvalidData: `from_seal` is no hash.
    """
    if from_seal is not None and not _is_hash(from_seal):
        raise InvalidData("from_seal", from_seal, "be the hash of a seal: 64 hex digits")
    found = Verified()
    before = None if keep is None else now() - keep
    is_due = from_seal is None
    async for seals in _chunks(unit):
        due = []
        for item in seals:
            is_due = is_due or item.hash == from_seal
            found.faults += _links(item, found.last)
            found.last = item
            due += [item] if is_due else []
        await _recompute(unit, due, before, found)
    if from_seal is not None and not is_due:
        number = found.last.number + 1 if found.last else 1
        found.faults.append(Fault(number, f"no seal has the hash {from_seal}: it was removed"))
    found.unsealed = await _unsealed(unit, found.last)
    return found


async def _chunks(unit: Unit) -> AsyncIterator[Sequence[Seal]]:
    """Yield runs of neighbouring seals of one server, as many as are recomputed at once."""
    repository = unit.repository(SealRepository)
    run: list[Seal] = []
    async for batch in repository.batches(repository.query().order_by(Seal.number)):
        for item in batch:
            entries = sum(other.entries_count for other in run)
            is_full = len(run) >= _SEALS_AT_ONCE or entries >= _ENTRIES_AT_ONCE
            if run and (is_full or not _follows(item, run[-1])):
                yield run
                run = []
            run.append(item)
    if run:
        yield run


def _follows(item: Seal, last: Seal) -> bool:
    return item.cluster == last.cluster and item.from_xid == last.to_xid


def _links(item: Seal, last: Seal | None) -> list[Fault]:
    """Return what is wrong with a seal itself and with its place behind the one before."""
    faults = []
    previous = last.hash if last else ""
    if item.number != (last.number + 1 if last else 1) or item.previous_hash != previous:
        faults.append(Fault(item.number, "it does not follow the seal before: one was removed"))
    elif last and item.cluster == last.cluster and item.from_xid != last.to_xid:
        faults.append(Fault(item.number, "its transactions do not follow the seal before"))
    if item.hash != hash_of(item):
        faults.append(Fault(item.number, "the seal itself was changed"))
    return faults


def hash_of(item: Seal) -> str:
    """Return the hash that a seal must have, in hex."""
    parts = (
        item.number,
        item.cluster,
        item.from_xid,
        item.to_xid,
        item.entries_count,
        item.entries_hash,
        item.previous_hash,
    )
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


async def _recompute(
    unit: Unit, seals: Sequence[Seal], before: datetime | None, found: Verified
) -> None:
    if not seals:
        return
    first, last = seals[0], seals[-1]
    range_ = {"cluster": first.cluster, "start": first.from_xid, "end": last.to_xid}
    starts = [item.from_xid for item in seals]
    rows = await unit.session.execute(_ENTRIES, {**range_, "starts": starts})
    now_there = {place: _Found(count, digest) for place, count, digest in rows}
    for place, item in enumerate(seals, start=1):
        there = now_there.get(place, _Found(0, None))
        if before is not None and item.first_at < before and there.count < item.entries_count:
            found.expired += 1
            continue
        found.seals += 1
        found.entries += there.count
        if what := _difference(item, there):
            found.faults.append(Fault(item.number, what))


def _difference(item: Seal, there: _Found) -> str:
    """Return what happened to the entries under a seal; empty: nothing."""
    if there.count < item.entries_count:
        return f"{item.entries_count - there.count} of {item.entries_count} entries were deleted"
    if there.count > item.entries_count:
        return f"{there.count - item.entries_count} entries were added to {item.entries_count}"
    return "" if there.hash == item.entries_hash else "an entry was changed"


async def _unsealed(unit: Unit, last: Seal | None) -> int:
    after = {"cluster": last.cluster if last else 0, "start": last.to_xid if last else 0}
    counted: int = (await unit.session.execute(_UNSEALED, after)).scalar_one()
    return counted


def told(item: Seal) -> str:
    """Return a seal as a line to be kept elsewhere."""
    return f"seal {item.number} {item.hash} {item.sealed_at.isoformat()}"


def _is_hash(given: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", given) is not None


_PATIENT: Final = text("SET LOCAL statement_timeout = '10min'")
_SEAL: Final = text("SELECT * FROM audit.seal(:most)")
_ENTRIES: Final = text(
    f"""
SELECT width_bucket(e.xid, :starts) AS place, count(*), {ENTRIES_HASH}
  FROM audit.entries AS e
 WHERE e.cluster = :cluster AND e.xid >= :start AND e.xid < :end
 GROUP BY place"""  # noqa: S608 - our own expression
).bindparams(
    bindparam("starts", type_=ARRAY(BigInteger)),
    bindparam("cluster", type_=BigInteger()),
    bindparam("start", type_=BigInteger()),
    bindparam("end", type_=BigInteger()),
)
_UNSEALED: Final = text(
    "SELECT count(*) FROM audit.entries WHERE (cluster = :cluster AND xid >= :start)"
    " OR cluster NOT IN (SELECT cluster FROM audit.seals)"
).bindparams(bindparam("cluster", type_=BigInteger()), bindparam("start", type_=BigInteger()))
