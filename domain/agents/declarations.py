"""What the agents schema has beside its tables: nof0's three views, as views of the caller."""

from typing import Final

from domain.db.objects import View, declare
from domain.db.orm import Base

STANDINGS: Final = View(
    schema="agents",
    name="standings",
    comment="The leaderboard in nof0's nine columns, of all agents that are not retired",
    definition="""
SELECT a.user_id,
       a.id AS agent_id,
       a.slug AS model_id,
       l.equity,
       l.sharpe,
       l.num_trades,
       l.num_wins,
       l.num_losses,
       l.win_dollars,
       l.lose_dollars,
       l.return_pct
  FROM agents.leaderboard l
  JOIN agents.agents a ON a.user_id = l.user_id AND a.id = l.agent_id
 WHERE a.archived_at IS NULL
""",
)

SINCE_INCEPTION: Final = View(
    schema="agents",
    name="since_inception",
    comment="Equity of agents by time, in nof0's columns and with times as instants",
    definition="""
SELECT a.user_id,
       a.id AS agent_id,
       a.slug AS model_id,
       s.time AS "timestamp",
       (extract(epoch FROM s.time) * 1000)::bigint AS timestamp_ms,
       s.equity AS value
  FROM agents.agents a
  JOIN trading.portfolios p ON p.user_id = a.user_id AND p.id = a.portfolio_id
  JOIN trading.equity_snapshots s ON s.user_id = p.user_id AND s.portfolio_id = p.id
 WHERE p.inception_at IS NULL OR s.time >= p.inception_at
""",
)

CRYPTO_PRICES_LATEST: Final = View(
    schema="agents",
    name="crypto_prices_latest",
    comment="Newest price of each crypto or perpetual symbol, in nof0's columns",
    definition="""
SELECT DISTINCT ON (i.symbol)
       i.symbol,
       p.price,
       (extract(epoch FROM p.time) * 1000)::bigint AS timestamp_ms,
       p.instrument_id
  FROM market.latest_prices p
  JOIN market.instruments i ON i.id = p.instrument_id
 WHERE i.kind IN ('crypto', 'perpetual')
 ORDER BY i.symbol, p.time DESC, p.instrument_id
""",
)

VIEWS: Final = (STANDINGS, SINCE_INCEPTION, CRYPTO_PRICES_LATEST)

declare(Base.metadata, *VIEWS)
