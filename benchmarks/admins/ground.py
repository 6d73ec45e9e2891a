"""The database that all admins run on: trades in a hundred thousand portfolios."""

from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from domain import Database
from domain.db import migrations
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.identity.signing_in import Lifetime, Visitor, open_session
from domain.settings import Settings

PORTFOLIOS = 100_000
INSTRUMENTS = 100
POPULAR = 42
"""The instrument that every tenth trade is in: `SEARCHED` is its symbol."""

SEARCHED = f"SYM{POPULAR:03d}"
_BATCH = 1_000_000


@dataclass(frozen=True)
class Ground:
    """What the contest needs to know.

    Args:
        url: The database.
        token: The session of an administrator of ours.
        entry: A journal entry, whose portfolio is a foreign key into 100,000 rows.
    """

    url: str
    token: str
    entry: str


async def prepare(url: str, rows: int) -> Ground:
    """Migrate and fill; the triggers of single rows are not what is measured."""
    await migrations.upgrade(url)
    raw = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        await raw.execute("SET session_replication_role = replica")
        await raw.execute(_BASE)
        for start in range(0, rows, _BATCH):
            await raw.execute(_trades(start + 1, min(rows, start + _BATCH)))
        entry = await raw.fetchval(_ENTRY)
        await raw.execute("RESET session_replication_role")
        await raw.execute("VACUUM ANALYZE trading.trades, trading.portfolios")
        await raw.execute("VACUUM ANALYZE market.instruments, journal.journal_entries")
        await raw.execute("CHECKPOINT")
    finally:
        await raw.close()
    return Ground(url, await _token(url), str(entry))


def _trades(start: int, end: int) -> str:
    numbers = {"portfolios": PORTFOLIOS, "instruments": INSTRUMENTS, "popular": POPULAR}
    return _TRADES.format(start=start, end=end, **numbers)


async def _token(url: str) -> str:
    lifetime = Lifetime(idle=timedelta(hours=12), absolute=timedelta(hours=12))
    async with (
        Database(url, settings=Settings()) as db,
        db.transaction(system="bench") as unit,
    ):
        user = await create_user(unit, "boss", password=None, role=Role.ADMIN)
        return await open_session(unit, user, lifetime, Visitor())


_BASE = f"""
INSERT INTO identity.users (id, username) VALUES
  ('00000000-0000-7000-8000-000000000001', 'bench');
INSERT INTO market.instruments (symbol, kind, quote_currency)
  SELECT 'SYM' || lpad(n::text, 3, '0'), 'stock', 'USD'
    FROM generate_series(1, {INSTRUMENTS}) AS n;
INSERT INTO trading.portfolios (user_id, name)
  SELECT '00000000-0000-7000-8000-000000000001', 'Portfolio ' || n
    FROM generate_series(1, {PORTFOLIOS}) AS n;
CREATE TEMP TABLE numbered_portfolios AS
  SELECT id, row_number() OVER (ORDER BY id) AS number FROM trading.portfolios;
CREATE TEMP TABLE numbered_instruments AS
  SELECT id, row_number() OVER (ORDER BY id) AS number FROM market.instruments;
CREATE UNIQUE INDEX ON numbered_portfolios (number);
CREATE UNIQUE INDEX ON numbered_instruments (number);
ANALYZE numbered_portfolios, numbered_instruments;
"""  # noqa: S608 - constants
_TRADES = """
INSERT INTO trading.trades
  (user_id, portfolio_id, instrument_id, side, quantity, price, gross_amount, currency,
   fee_currency, executed_at, source, dedupe_key)
SELECT '00000000-0000-7000-8000-000000000001', p.id, i.id,
       CASE n % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 1 + n % 100, 10 + (n % 5000) / 100.0,
       (1 + n % 100) * (10 + (n % 5000) / 100.0), 'USD', 'USD',
       timestamptz '2010-01-01 00:00+00' + n * interval '20 seconds', 'bench', n::text
  FROM generate_series({start}, {end}) AS n
  JOIN numbered_portfolios AS p ON p.number = 1 + n % {portfolios}
  JOIN numbered_instruments AS i
    ON i.number = CASE n % 10 WHEN 0 THEN {popular} ELSE 1 + (n / 7) % {instruments} END
 ORDER BY n
"""
_ENTRY = """
INSERT INTO journal.journal_entries (user_id, entry_on, title, portfolio_id, kind)
SELECT user_id, '2024-01-02', 'A day', id, 'note' FROM trading.portfolios LIMIT 1 RETURNING id
"""
