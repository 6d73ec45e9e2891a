"""The profit of entries, from the ledger.

An entry that names a position has the profit of that whole cycle. Another has that of the lot
pieces which its linked trades closed; trades with the role entry or scale-in are left out, because
a trade that turns a position around closes what belonged to the idea before. A trade that was
corrected stays linked: what corrects it counts in its place. Fees are in it, as in
`LotClosure.net_pnl`.

Profit is a projection: when trades change it is computed anew, without counting as an edit.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import ARRAY, Uuid, bindparam, literal, select, text

from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.journal.models import EntryTrade, JournalEntry
from domain.trading.models import Portfolio, Position, Trade

_UPDATE: Final = """
WITH RECURSIVE wanted AS (
  SELECT e.id, e.position_id,
         e.position_id IS NOT NULL
         OR EXISTS (SELECT FROM journal.entry_trades l WHERE l.entry_id = e.id) AS is_linked
    FROM journal.journal_entries e
   WHERE {scope}
), standing AS (
  SELECT l.entry_id, l.trade_id
    FROM wanted w JOIN journal.entry_trades l ON l.entry_id = w.id
   WHERE w.position_id IS NULL AND l.role NOT IN ('entry', 'scale_in')
   UNION
  SELECT s.entry_id, t.id
    FROM standing s JOIN trading.trades t ON t.corrects_trade_id = s.trade_id
), pieces AS (
  SELECT s.entry_id, c.id
    FROM standing s JOIN trading.lot_closures c ON c.closing_trade_id = s.trade_id
   UNION
  SELECT w.id, c.id
    FROM wanted w JOIN trading.lot_closures c ON c.position_id = w.position_id
), booked AS (
  SELECT p.entry_id, trim_scale(sum(c.net_pnl)) AS pnl,
         trim_scale(sum(c.open_fees + c.close_fees)) AS fees,
         sum(abs(c.open_value)) AS cost, min(o.currency) AS currency
    FROM pieces p
    JOIN trading.lot_closures c ON c.id = p.id
    JOIN trading.positions o ON o.id = c.position_id
   GROUP BY p.entry_id
), figures AS (
  SELECT w.id, w.is_linked, b.pnl, b.fees, b.currency,
         round(100 * b.pnl / nullif(b.cost, 0), 4) AS pnl_percent
    FROM wanted w LEFT JOIN booked b ON b.entry_id = w.id
)
UPDATE journal.journal_entries e
   SET pnl = f.pnl, fees = f.fees, pnl_percent = f.pnl_percent,
       currency = CASE WHEN f.is_linked THEN coalesce(f.currency, e.currency) END,
       pnl_source = CASE WHEN f.is_linked THEN 'ledger' ELSE 'typed' END
  FROM figures f
 WHERE e.id = f.id AND (f.is_linked OR e.pnl_source = 'ledger')
   AND (e.pnl, e.fees, e.pnl_percent, e.pnl_source)
       IS DISTINCT FROM
       (f.pnl, f.fees, f.pnl_percent, CASE WHEN f.is_linked THEN 'ledger' ELSE 'typed' END)
RETURNING e.id
"""
_THESE: Final = text(_UPDATE.format(scope="e.id = ANY (:entries)")).bindparams(
    bindparam("entries", type_=ARRAY(Uuid()))
)
_ALL: Final = text(_UPDATE.format(scope="true"))
_IN_PORTFOLIO: Final = text(
    _UPDATE.format(
        scope="""e.id IN (
      SELECT l.entry_id FROM journal.entry_trades l JOIN trading.trades t ON t.id = l.trade_id
       WHERE t.portfolio_id = :portfolio
       UNION
      SELECT o.id FROM journal.journal_entries o JOIN trading.positions p ON p.id = o.position_id
       WHERE p.portfolio_id = :portfolio)"""
    )
)


async def refresh_profit(
    unit: UnitOfWork,
    entries: Iterable[JournalEntry] | None = None,
    *,
    portfolio: Portfolio | None = None,
) -> int:
    """Bring the profit of entries with linked trades up to date; return how many changed.

    One statement for any number of entries. Call it after trades were booked, corrected or
    reverted; linking trades does it by itself.

    Args:
        unit: A tenant's unit, or a trusted job's for all tenants.
        entries: These; default all that the unit sees.
        portfolio: Only entries that describe trades or positions of this portfolio.
    """
    await unit.flush()
    given = None if entries is None else list(entries)
    if given is not None:
        result = await unit.session.execute(_THESE, {"entries": [entry.id for entry in given]})
    elif portfolio is not None:
        result = await unit.session.execute(_IN_PORTFOLIO, {"portfolio": portfolio.id})
    else:
        result = await unit.session.execute(_ALL)
    changed = list(result.scalars())
    known = [entry.id for entry in given or () if entry.id in set(changed)]
    if known:
        await reload(unit, known)
    return len(changed)


async def reload(unit: UnitOfWork, ids: Iterable[object]) -> None:
    """Read entries anew that the unit holds already."""
    fresh = select(JournalEntry).where(JournalEntry.id == any_of(ids))  # type: ignore[arg-type]  # ids of rows
    await unit.session.execute(fresh, execution_options={"populate_existing": True})


async def require_one_currency(
    unit: UnitOfWork, entry: JournalEntry, trades: Iterable[Trade]
) -> None:
    """Refuse trades whose profit cannot be added to what is linked already.

    Raises:
        InvalidData: The profits are in several currencies.
    """
    linked = (
        select(Trade.currency)
        .join(EntryTrade, EntryTrade.trade_id == Trade.id)
        .where(EntryTrade.entry_id == entry.id)
    )
    cycle = select(Position.currency).where(Position.id == literal(entry.position_id, Uuid()))
    known = set((await unit.session.scalars(linked.union(cycle))).all())
    found = known | {trade.currency for trade in trades}
    if len(found) > 1:
        raise InvalidData("trades", sorted(found), "make profit in one currency")
