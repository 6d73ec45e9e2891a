"""One record of every kind, with the values that careless forms destroy."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from domain import Database
from domain.agents import (
    MessageRole,
    NewMessage,
    add_messages,
    record_analytics,
    refresh_leaderboard,
)
from domain.alerts.evaluating import evaluate
from domain.alerts.events import report
from domain.identity.models import (
    ApiKey,
    BulkItem,
    BulkRun,
    NotificationAddress,
    OAuthToken,
    RecoveryCode,
    Role,
    RowOutcome,
    SavedView,
    SecondFactor,
    TableImport,
    TableImportRow,
    Ticket,
    TicketPurpose,
    UserPreferences,
    UserSession,
)
from domain.identity.ties import ExternalIdentity, StaffTenant
from domain.market.models import (
    ArchivedBar,
    Bar,
    CorporateAction,
    DailyBar,
    FxRate,
    InstrumentAlias,
    LatestPrice,
    Tick,
)
from domain.market.terms import CorporateActionKind, Timeframe
from domain.messaging.models import (
    FailedDelivery,
    Notification,
    OutboxMessage,
    ProcessedMessage,
    ScheduledJob,
)
from domain.news.articles import NewArticle, ingest_articles
from domain.news.calendar import NewEvent, ingest_events
from domain.news.releases import Release, ingest_releases
from domain.schema import metadata
from domain.trading.models import EquitySnapshot, ImportBatch
from domain.trading.terms import Side
from tests.admin.journal_and_research import make_journal, make_research
from tests.factories.agents import make_agent, make_conversation
from tests.factories.alerts import make_alert, price
from tests.factories.audit import seal_everything
from tests.factories.identity import make_user
from tests.factories.trading import Account, open_account

MOMENT = datetime(2024, 3, 15, 14, 30, 15, 123456, tzinfo=UTC)
CANARIES = {
    "password_hash": "CANARY-of-a-password-hash",
    "key_hash": b"CANARY-of-a-key-hash-32-bytes-xx",
    "token_hash": b"CANARY-of-a-token-hash-32-bytes-",
    "access_token_enc": b"CANARY-of-an-access-token",
    "refresh_token_enc": b"CANARY-of-a-refresh-token",
    "secret_enc": b"CANARY-of-a-shared-secret",
    "code_hash": b"CANARY-of-a-code-hash-32-bytes-x",
    "address_enc": b"CANARY-of-an-address",
    "signing_key_enc": b"CANARY-of-a-signing-key",
}


async def make_everything(db: Database) -> Account:
    """Fill every table; return the account that trades."""
    account = await open_account(
        db, "ada", symbol="AAPL", name="Main", description="\nfirst\nsecond\n"
    )
    await _make_access(db, account)
    await _make_market(db, account)
    await account.trade(
        Side.BUY,
        "10.000000000000000001",
        "190.25",
        executed_at=MOMENT,
        commission=Decimal("1.05"),
        description='=HYPERLINK("https://evil.example")',
        external_id="ib-1",
    )
    await account.trade(Side.SELL, "4", "195.5", executed_at=MOMENT + timedelta(hours=1))
    await _make_rest(db, account)
    await _make_agents(db, account)
    await _make_alerts(db, account)
    await _make_news(db)
    await make_journal(db, account)
    await make_research(db, account)
    await seal_everything(db)
    return account


async def _make_access(db: Database, account: Account) -> None:
    async with db.transaction(system="test") as unit:
        user = await unit.users.named(account.user.username)
        user.email, user.name = "ada@example.com", "Ada <b>Lovelace</b>"
        user.password_hash = CANARIES["password_hash"]
        owner: dict[str, Any] = {"user_id": user.id}
        unit.user_sessions.add(
            UserSession(
                token_hash=CANARIES["token_hash"],
                issued_at=MOMENT,
                last_seen_at=MOMENT,
                expires_at=MOMENT + timedelta(hours=1),
                **owner,
            )
        )
        unit.api_keys.add(
            ApiKey(
                name="bot",
                prefix="tk_abc",
                key_hash=CANARIES["key_hash"],
                permissions=["trades:read", "ä"],
                expires_at=MOMENT,
                **owner,
            )
        )
        unit.oauth_tokens.add(
            OAuthToken(
                provider="tastytrade",
                access_token_enc=CANARIES["access_token_enc"],
                refresh_token_enc=CANARIES["refresh_token_enc"],
                key_id="k1",
                expires_at=MOMENT,
                **owner,
            )
        )
        unit.notification_addresses.add(
            NotificationAddress(
                channel="webhook",
                address_enc=CANARIES["address_enc"],
                signing_key_enc=CANARIES["signing_key_enc"],
                key_id="k1",
                hint="hooks.example.com",
                **owner,
            )
        )
        unit.second_factors.add(
            SecondFactor(secret_enc=CANARIES["secret_enc"], key_id="k1", **owner)
        )
        unit.recovery_codes.add(RecoveryCode(code_hash=CANARIES["code_hash"], **owner))
        unit.tickets.add(
            Ticket(
                purpose=TicketPurpose.PASSWORD_RESET,
                token_hash=CANARIES["token_hash"],
                issued_at=MOMENT,
                expires_at=MOMENT + timedelta(hours=1),
                issued_by="boss",
                **owner,
            )
        )
        unit.external_identities.add(
            ExternalIdentity(
                issuer="https://login.example.com",
                subject="ada-1",
                email="ada@example.com",
                linked_by="boss",
                **owner,
            )
        )
        clerk = await make_user(unit, "clerk", Role.VIEWER)
        unit.staff_tenants.add(StaffTenant(staff_id=clerk.id, tenant_id=user.id, granted_by="boss"))
        unit.saved_views.add(
            SavedView(view="trades", name="Purchases", query="side=buy", position=1, **owner)
        )
        imported = unit.table_imports.add(
            TableImport(
                view="currencies",
                filename="currencies.csv",
                sha256=b"s" * 32,
                mapping={"code": "Code"},
                rows_total=2,
                rows_inserted=1,
                rows_updated=0,
                rows_unchanged=0,
                rows_rejected=1,
                **owner,
            )
        )
        await unit.flush()
        fault = {"code": {"value": "?", "rule": "be a code"}}
        for line, outcome, key, faults in (
            (2, RowOutcome.INSERTED, "XTS", None),
            (3, RowOutcome.REJECTED, None, fault),
        ):
            row: dict[str, Any] = {"line": line, "outcome": outcome, "faults": faults}
            unit.table_import_rows.add(
                TableImportRow(import_id=imported.id, record_key=key, **row, **owner)
            )
        run = unit.bulk_runs.add(BulkRun(view="alerts", action="pause", total=1, **owner))
        await unit.flush()
        unit.bulk_items.add(BulkItem(run_id=run.id, position=1, record_key="gone", **owner))
        unit.preferences.add(
            UserPreferences(
                settings={"z": 1, "a": [1.5, None, {"deep": "\u2028"}]},
                notification_channels=["email", "push"],
                morning_alert=False,
                **owner,
            )
        )


async def _make_market(db: Database, account: Account) -> None:
    async with db.transaction(system="test") as unit:
        instrument = await unit.instruments.get(account.instrument.id)
        instrument.tick_size = Decimal("0.000000000000000001")
        instrument.details = {"sector": "Technology", "empty": []}
        instrument.listed_on = date(1980, 12, 12)
        instrument.name = "Apple  Inc. "
        of: dict[str, Any] = {"instrument_id": instrument.id}
        unit.instrument_aliases.add(
            InstrumentAlias(source="lean", symbol="aapl", valid_from=MOMENT, **of)
        )
        prices = {"open": 190, "high": 196, "low": 189, "close": 195, "volume": 1000}
        unit.bars.add(
            Bar(
                timeframe=Timeframe.D1,
                time=MOMENT,
                source="lean",
                **{name: Decimal(value) for name, value in prices.items()},
                **of,
            )
        )
        values = {name: Decimal(value) for name, value in prices.items()}
        unit.archived_bars.add(
            ArchivedBar(timeframe=Timeframe.M1, time=MOMENT, source="lean", **values, **of)
        )
        unit.daily_bars.add(
            DailyBar(
                on=MOMENT.date(),
                source="lean",
                timeframe=Timeframe.M1,
                bars_count=390,
                **values,
                **of,
            )
        )
        unit.ticks.add(Tick(time=MOMENT, source="lean", price=Decimal(195), **of))
        unit.latest_prices.add(LatestPrice(price=Decimal(195), time=MOMENT, source="lean", **of))
        unit.fx_rates.add(
            FxRate(
                base_currency="EUR",
                quote_currency="USD",
                on=date(2024, 3, 15),
                source="ecb",
                rate=Decimal("1.0887"),
            )
        )
        unit.corporate_actions.add(
            CorporateAction(
                kind=CorporateActionKind.CASH_DIVIDEND,
                ex_on=date(2024, 5, 10),
                effective_at=datetime(2024, 5, 10, tzinfo=UTC),
                source="lean",
                cash_amount=Decimal("0.25"),
                currency="USD",
                **of,
            )
        )


async def _make_rest(db: Database, account: Account) -> None:
    of: dict[str, Any] = {"user_id": account.user.id, "portfolio_id": account.portfolio.id}
    async with db.transaction(system="test") as unit:
        unit.notifications.add(
            Notification(
                user_id=account.user.id,
                channel="email",
                title="AAPL",
                body="above 190",
                data={"a": [1]},
            )
        )
        unit.processed_messages.add(
            ProcessedMessage(consumer="journal", message_id="a/b c", result={"rows": 1})
        )
        message = unit.outbox.add(OutboxMessage(topic="notification", payload={"type": "none"}))
        await unit.flush()
        unit.failed_deliveries.add(
            FailedDelivery(
                consumer="notices",
                message_id=message.id,
                topic="notification",
                last_error="InvalidData: userId must be given, was None",
                next_attempt_at=MOMENT,
                dead_at=MOMENT,
            )
        )
        unit.jobs.add(ScheduledJob(name="tidy", schedule="17 * * * *", next_run_at=MOMENT))
        unit.import_batches.add(
            ImportBatch(
                source="tastytrade",
                filename="history.csv",
                sha256=b"f" * 32,
                rows_total=2,
                rows_new=1,
                rows_duplicate=0,
                rows_rejected=1,
                report={"rejected": [{"line": 3, "value": "<script>alert(1)</script>"}]},
                **of,
            )
        )
        amounts = {"equity": "1000.5", "cash": "400", "position_value": "600.5"}
        results = {"realized_pnl": "20.5", "unrealized_pnl": "-20", "net_contributions": "1000"}
        for day in range(3):
            unit.equity_snapshots.add(
                EquitySnapshot(
                    time=MOMENT + timedelta(days=day),
                    currency="USD",
                    **{name: Decimal(value) for name, value in (amounts | results).items()},
                    **of,
                )
            )


async def _make_agents(db: Database, account: Account) -> None:
    async with db.transaction(system="test") as unit:
        agent = await make_agent(
            unit, account, "invented-1", provider="invented", description="<b>buys</b>"
        )
        conversation = await make_conversation(unit, agent, title="<i>orders</i>")
        await add_messages(
            unit,
            conversation,
            [NewMessage(role=MessageRole.USER, content="\nBuy.\n<script>1</script>", time=MOMENT)],
        )
        payload = {"id": "invented-1", "win_rate": Decimal("10.909090909090908")}
        await record_analytics(unit, agent, payload, updated_at=MOMENT)
        await refresh_leaderboard(unit)


async def _make_alerts(db: Database, account: Account) -> None:
    async with db.transaction(user=account.user.id) as unit:
        await make_alert(
            unit,
            account.instrument,
            name="Breakout <b>Lovelace</b>",
            threshold=Decimal("190.250000000000000001"),
            channels=["email", "push"],
            conditions={"keywords": ["\u2028"]},
            message_template="{symbol}\n<script>alert(1)</script> {value}",
            trigger_mode="every",
            cooldown=timedelta(hours=1),
        )
        await evaluate(unit, [price(account.instrument, "191.5")])
    async with db.transaction(system="watchdog") as unit:
        await report(unit, "Disk is full", "2 % left", source="watchdog", tags=["disk"])


async def _make_news(db: Database) -> None:
    async with db.transaction(system="feed") as unit:
        article = NewArticle(
            title="Apple <script>alert(1)</script> slips",
            url="https://news.example/1",
            published_at=MOMENT,
            description="\nfirst\nsecond",
            sentiment=Decimal("-0.125"),
            symbols=("AAPL",),
        )
        await ingest_articles(unit, [article])
        event = NewEvent(
            event_type="rate_decision",
            name="FOMC",
            occurs_at=MOMENT,
            source="invented",
            impact=4,
            currency="USD",
            actual=Decimal("5.500000000000000001"),
        )
        await ingest_events(unit, [event])
        release = Release(
            symbol="GDPC1",
            observed_on=date(2023, 10, 1),
            vintage_on=date(2024, 1, 25),
            value=Decimal("22672.859"),
            is_preliminary=True,
        )
        await ingest_releases(unit, [release])


async def content(db: Database) -> dict[str, list[str]]:
    """Return every row of every table as PostgreSQL writes it: digits, NULLs, microseconds."""
    found = {}
    async with db.read(system="test") as unit:
        for name in metadata.tables:
            rows = await unit.session.execute(text(f"SELECT t::text FROM {name} t ORDER BY 1"))
            found[name] = list(rows.scalars())
    return found
