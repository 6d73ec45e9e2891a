"""All of Tradekeep's tables, views and rights in one place: what Alembic, admin and tests read."""

from typing import Final

import domain.agents.models
import domain.alerts.declarations
import domain.alerts.models
import domain.audit.declarations
import domain.audit.models
import domain.cache.models
import domain.identity.models
import domain.identity.ties
import domain.journal.models
import domain.market.declarations
import domain.market.models
import domain.messaging.models
import domain.news.declarations
import domain.news.models
import domain.research.declarations
import domain.research.models
import domain.trading.declarations
import domain.trading.models  # noqa: F401 - importing registers the tables
from domain.agents.declarations import VIEWS as AGENT_VIEWS
from domain.audit.policies import History, changes, everything, nothing
from domain.audit.triggers import declare_history
from domain.db.objects import Grant, declare
from domain.db.orm import Base
from domain.db.roles import ACTING, READONLY
from domain.db.tenancy import DeskRules, declare_tenancy, desk_rights
from domain.db.timeseries import declare_time_series

_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
_READ: Final = "SELECT"
_GROW: Final = "SELECT, INSERT"
_RECORD: Final = "SELECT, INSERT, DELETE"
_FACT: Final = "SELECT, INSERT, UPDATE (status)"
_ANSWERED: Final = (
    "SELECT, INSERT, UPDATE (acknowledged_at, acknowledged_by, resolved_at, channels_notified)"
)

# Roles, passwords and locks are given by staff and by jobs, never by tenants to themselves.
_OWN_PROFILE: Final = "SELECT, UPDATE (name, email, base_currency, timezone, version, updated_at)"

_TENANT_TABLE: Final = "identity.users"
_OWN_ACCOUNT: Final = (
    "SELECT, UPDATE (name, email, base_currency, timezone, password_hash, last_login_at, version,"
    " updated_at)"
)

# What tenants and what staff may do. A tenant's import may meet an instrument nobody knew, so
# tenants add instruments; they never change what others already refer to.
RIGHTS: Final = {
    "identity.users": (_OWN_PROFILE, _ALL),
    "identity.sessions": (_ALL, _ALL),
    "identity.api_keys": (_ALL, _ALL),
    "identity.oauth_tokens": (_ALL, _ALL),
    "identity.preferences": (_ALL, _ALL),
    "identity.notification_addresses": (_ALL, _ALL),
    "identity.second_factors": ("", _ALL),
    "identity.recovery_codes": ("", _ALL),
    "identity.tickets": ("", _ALL),
    "identity.role_permissions": ("", _ALL),
    "identity.staff_tenants": ("", _ALL),
    "identity.external_identities": ("", _ALL),
    "identity.saved_views": (_ALL, _ALL),
    "identity.table_imports": (_READ, _ALL),
    "identity.table_import_rows": (_READ, _ALL),
    "identity.bulk_runs": (_READ, _ALL),
    "identity.bulk_items": (_READ, _ALL),
    "market.currencies": (_GROW, _ALL),
    "market.instruments": (_GROW, _ALL),
    "market.instrument_aliases": (_READ, _ALL),
    "market.bars": (_READ, _ALL),
    "market.bars_archive": (_READ, _ALL),
    "market.daily_bars": (_READ, _ALL),
    "market.stale_days": ("", _ALL),
    "market.ticks": (_READ, _ALL),
    "market.latest_prices": (_READ, _ALL),
    "market.fx_rates": (_READ, _ALL),
    "market.corporate_actions": (_READ, _ALL),
    "trading.portfolios": (_ALL, _ALL),
    "trading.import_batches": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "trading.trades": (_FACT, _FACT),
    "trading.positions": (_ALL, _ALL),
    "trading.lots": (_ALL, _ALL),
    "trading.lot_closures": (_ALL, _ALL),
    "trading.cash_movements": (_FACT, _FACT),
    "trading.equity_snapshots": (_ALL, _ALL),
    "alerts.alerts": (_ALL, _ALL),
    "alerts.alert_events": (_ANSWERED, _ANSWERED),
    "news.articles": (_READ, _ALL),
    "news.article_instruments": (_READ, _ALL),
    "news.calendar_events": (_READ, _ALL),
    "news.economic_series": (_READ, _ALL),
    "news.economic_releases": (_READ, _ALL),
    "cache.pending_invalidations": ("INSERT", _ALL),
    "messaging.outbox": ("INSERT", _ALL),
    "messaging.notifications": ("SELECT, INSERT, UPDATE (status, read_at)", _ALL),
    "messaging.processed_messages": ("", _ALL),
    "messaging.failed_deliveries": ("", _ALL),
    "messaging.jobs": ("", _ALL),
    "timeseries.registry": (_READ, _READ),
    "audit.entries": (_READ, _READ),
    "audit.seals": (_READ, _READ),
    "agents.agents": (_ALL, _ALL),
    "agents.agent_analytics": (_ALL, _ALL),
    "agents.conversations": (_ALL, _ALL),
    "agents.messages": ("SELECT, INSERT, DELETE", "SELECT, INSERT, DELETE"),
    "agents.leaderboard": (_ALL, _ALL),
    "journal.journal_entries": (_ALL, _ALL),
    "journal.setups": (_ALL, _ALL),
    "journal.tags": (_ALL, _ALL),
    "journal.entry_tags": (_ALL, _ALL),
    "journal.entry_trades": (_ALL, _ALL),
    "journal.attachments": (_ALL, _ALL),
    "research.watchlists": (_ALL, _ALL),
    "research.watchlist_items": (_ALL, _ALL),
    "research.screeners": (_ALL, _ALL),
    "research.screener_runs": (_RECORD, _RECORD),
    "research.analyses": (_RECORD, _RECORD),
    "research.metrics": (_ALL, _ALL),
    "research.knowledge_documents": (_READ, _ALL),
    "research.knowledge_chunks": (_READ, _ALL),
}

DESK_RULES: Final = DeskRules(
    credentials=frozenset(
        {
            "identity.sessions",
            "identity.api_keys",
            "identity.oauth_tokens",
            "identity.notification_addresses",
            "identity.second_factors",
            "identity.recovery_codes",
            "identity.tickets",
            "identity.external_identities",
        }
    ),
    own_account=_OWN_ACCOUNT,
    withheld=frozenset({"audit.seals"}),
)
"""What staff limited to some tenants may that does not follow from `RIGHTS`."""

_FACT_ROWS: Final = changes("the rows are added once, carry their own times and are many")
_MACHINE_ROWS: Final = nothing("overwritten by machines all the time from rows that are kept")
_POST: Final = nothing("on its way, and gone when it arrived")
_REPLAYED: Final = nothing("replayed from the trades, whose history is kept; `verify` compares")

# What is kept of the changes of every table: see `domain.audit`.
HISTORY: Final[dict[str, History]] = {
    "identity.users": everything("last_login_at"),
    "identity.sessions": changes("a login is an event of its own"),
    "identity.api_keys": everything(),
    "identity.oauth_tokens": everything(),
    "identity.preferences": everything(),
    "identity.notification_addresses": everything(),
    "identity.second_factors": everything("last_step"),
    "identity.recovery_codes": everything(),
    "identity.tickets": changes("a ticket is asked for by an event, and used up by another"),
    "identity.role_permissions": everything(),
    "identity.staff_tenants": everything(),
    "identity.external_identities": everything(),
    "identity.saved_views": everything(),
    "identity.table_imports": everything(),
    "identity.table_import_rows": nothing("they are the report of an import and never change"),
    "identity.bulk_runs": everything("done", "skipped"),
    "identity.bulk_items": nothing("they are the report of a run; what it does has its history"),
    "market.currencies": everything(),
    "market.instruments": everything(),
    "market.instrument_aliases": everything(),
    "market.bars": _FACT_ROWS,
    "market.bars_archive": _FACT_ROWS,
    "market.daily_bars": _MACHINE_ROWS,
    "market.stale_days": _MACHINE_ROWS,
    "market.ticks": _FACT_ROWS,
    "market.latest_prices": _MACHINE_ROWS,
    "market.fx_rates": _FACT_ROWS,
    "market.corporate_actions": everything(),
    "trading.portfolios": everything(),
    "trading.import_batches": everything(),
    "trading.trades": everything(),
    "trading.positions": everything(
        "current_price", "marked_at", "mae", "mfe", "margin_used", "liquidation_price"
    ),
    "trading.lots": _REPLAYED,
    "trading.lot_closures": _REPLAYED,
    # What a trade does to the cash follows from the trade.
    "trading.cash_movements": everything(added="n.source <> 'ledger'"),
    "trading.equity_snapshots": changes("a snapshot a day; one that is valued anew is a change"),
    "alerts.alerts": everything(
        "is_armed",
        "last_value",
        "last_evaluated_at",
        "condition_since",
        "last_triggered_at",
        "last_period_at",
        "trigger_count",
    ),
    "alerts.alert_events": _FACT_ROWS,
    "news.articles": _FACT_ROWS,
    "news.article_instruments": _FACT_ROWS,
    "news.calendar_events": changes("fed by calendars, which say the same again and again"),
    "news.economic_series": everything("last_updated_at"),
    "news.economic_releases": _FACT_ROWS,
    "cache.pending_invalidations": _POST,
    "messaging.outbox": _POST,
    "messaging.notifications": nothing("notices tell of changes and note themselves what became"),
    "messaging.processed_messages": _POST,
    "messaging.failed_deliveries": _POST,
    "messaging.jobs": nothing("written by every run of a job; its row says how the last one went"),
    "timeseries.registry": nothing("written by migrations"),
    "audit.entries": nothing("it is the history, and only grows"),
    "audit.seals": nothing("they only grow, each sealed by the next"),
    "agents.agents": everything(),
    "agents.agent_analytics": _MACHINE_ROWS,
    "agents.conversations": everything("message_count", "last_message_at"),
    "agents.messages": _FACT_ROWS,
    "agents.leaderboard": _MACHINE_ROWS,
    "journal.journal_entries": everything(),
    "journal.setups": everything(),
    "journal.tags": everything(),
    "journal.entry_tags": everything(),
    "journal.entry_trades": everything(),
    "journal.attachments": everything(),
    "research.watchlists": everything(),
    "research.watchlist_items": everything(),
    "research.screeners": everything("next_run_at"),
    "research.screener_runs": _FACT_ROWS,
    "research.analyses": _FACT_ROWS,
    "research.metrics": _FACT_ROWS,
    "research.knowledge_documents": everything(),
    "research.knowledge_chunks": nothing("cut from the documents, whose history is kept"),
}

metadata = Base.metadata
declare_time_series(metadata)
DESK_RIGHTS: Final = desk_rights(metadata, RIGHTS, DESK_RULES, tenant_table=_TENANT_TABLE)
"""What staff limited to some tenants may do with each table, as SQL privileges."""
declare_tenancy(metadata, RIGHTS, DESK_RULES, tenant_table=_TENANT_TABLE)
declare_history(metadata, HISTORY)
for _role in (*ACTING, READONLY):
    declare(metadata, Grant("SELECT", "TABLE trading.round_trips", _role))
    for _view in AGENT_VIEWS:
        declare(metadata, Grant("SELECT", f"TABLE agents.{_view.name}", _role))
    declare(metadata, Grant("SELECT", "TABLE news.latest_releases", _role))

AREAS: Final = (
    "identity",
    "market",
    "trading",
    "alerts",
    "journal",
    "research",
    "news",
    "agents",
    "messaging",
    "cache",
    "audit",
)
"""The PostgreSQL schemas, one an area, in the order of their dependencies."""
