"""The worker as it runs: from what happened to what users get, and its end."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update

from domain import Database
from domain.alerts.evaluating import evaluate
from domain.alerts.events import report
from domain.alerts.notifying import note_told
from domain.clock import now
from domain.db.unit import UnitOfWork
from domain.errors import TradekeepError
from domain.identity.encryption import Keyring
from domain.identity.models import UserPreferences, UserSession
from domain.identity.notifying import store_address
from domain.journal.recording import link_position
from domain.messaging.broadcasting import Listeners
from domain.messaging.channels import Address
from domain.messaging.consuming import Consumer, Received
from domain.messaging.messages import AlertReported, Notice, ScreenerDue, topic_of
from domain.messaging.models import Notification, ScheduledJob
from domain.messaging.publishing import publish
from domain.news.calendar import NewEvent, ingest_events
from domain.ops import working as composition
from domain.ops.jobs import _day_of, jobs
from domain.ops.working import consumers, telling_worker, working
from domain.realtime import open_live
from domain.research.analysing import save_analysis
from domain.research.screening import save_screener, save_screener_run
from domain.settings import Settings
from domain.storage import Storage
from domain.trading.terms import Side
from tests.factories.alerts import make_alert, price
from tests.factories.journal import make_entry
from tests.factories.trading import open_account
from tests.messaging.servers import HttpServer, http_server
from tests.messaging.stations import announce, effects, leave_effect, make_effects

KEYS = "k1:" + base64.b64encode(b"1" * 32).decode()


@pytest.fixture
async def desk(migrated_database: str) -> AsyncIterator[Database]:
    """A database with the settings of a worker."""
    settings = Settings(
        encryption_keys=SecretStr(KEYS),
        allow_private_webhooks=True,
        worker_first_pause=0,
        worker_idle=0.1,
        worker_grace=5,
    )
    async with Database(migrated_database, settings=settings) as db:
        yield db


async def until(condition: Any) -> Any:
    """Wait until an async condition is true and return what it returned."""
    async with asyncio.timeout(20):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


async def delivered(db: Database) -> bool:
    async with db.read(system="test") as unit:
        query = text("SELECT count(*) FROM messaging.outbox WHERE published_at IS NULL")
        return not await unit.session.scalar(query)


async def test_an_alert_reaches_the_webhook_of_its_user_and_says_so_at_its_event(
    desk: Database,
) -> None:
    account = await open_account(desk)
    async with http_server() as server, working(desk):
        async with desk.transaction(user=account.user.id) as unit:
            hook = Address(server.url("/hook"))
            await store_address(unit, Keyring.parse(KEYS), "webhook", hook, user_id=account.user.id)
            limit = Decimal(190)
            await make_alert(unit, account.instrument, channels=["webhook"], threshold=limit)
            assert len(await evaluate(unit, [price(account.instrument, "191")])) == 1
        await until(lambda: posted(server))

        async def noted() -> bool:
            async with desk.read(user=account.user.id) as reader:
                (event,) = await reader.alert_events.all()
                return event.channels_notified == ["webhook"]

        await until(noted)
    content = json.loads(server.requests[0].body)
    assert (content["kind"], content["data"]["currentValue"]) == ("alert", "191")


async def posted(server: HttpServer) -> bool:
    return bool(server.requests)


async def test_a_notice_of_ones_own_changes_nothing_at_anothers_event(desk: Database) -> None:
    ada, eve = await open_account(desk), await open_account(desk, "eve")
    async with desk.transaction(user=ada.user.id) as unit:
        await make_alert(unit, ada.instrument)
        (event,) = await evaluate(unit, [price(ada.instrument, "191")])
    async with desk.transaction(system="test") as unit:
        owner = {"user_id": eve.user.id, "channel": "webhook", "kind": "alert"}
        sent = Notification(title="t", body="", data={"eventId": str(event.id)}, **owner)
        await note_told(unit, sent)
        assert (await unit.alert_events.get(event.id)).channels_notified == []
        sent.user_id = ada.user.id
        await note_told(unit, sent)
        assert (await unit.alert_events.get(event.id)).channels_notified == ["webhook"]


async def test_results_and_requests_become_notices(desk: Database) -> None:
    account = await open_account(desk)
    user_id = account.user.id
    async with working(desk):
        async with desk.transaction(user=user_id) as unit:
            unit.preferences.add(UserPreferences(user_id=user_id, notification_channels=["log"]))
            await save_analysis(unit, "AAPL", "chart", {}, recommendation="select")
            screener = await save_screener(unit, "Puts", "csp", {}, notify_channels=[])
            await save_screener_run(unit, screener, [{"symbol": "AAPL"}])
            await publish(unit, Notice(user_id=user_id, channel="log", title="Hi", body="there"))

        async def sent() -> Sequence[Any]:
            async with desk.read(user=user_id) as reader:
                rows = await reader.notifications.all()
            return rows if len(rows) == 6 and all(row.sent_at for row in rows) else ()

        rows = await until(sent)
    assert sorted({(row.kind, row.title, row.body) for row in rows}) == [
        ("analysis", "Analysis complete: AAPL", "Recommendation: select"),
        ("notice", "Hi", "there"),
        ("screener", "Screener complete: Puts", "1 results"),
    ]


async def test_an_entrys_profit_follows_its_trades(desk: Database) -> None:
    account = await open_account(desk)
    opened = await account.trade(Side.BUY, "10", "100")
    async with desk.transaction(user=account.user.id) as unit:
        entry = await make_entry(unit, account.user.id)
        await link_position(unit, entry, opened.position)
    async with working(desk):
        await account.trade(Side.SELL, "10", "110", minute=1)

        async def followed() -> bool:
            async with desk.read(user=account.user.id) as reader:
                return (await reader.journal_entries.get(entry.id)).pnl == Decimal(100)

        await until(followed)


async def test_live_listeners_hear_of_a_trade(desk: Database) -> None:
    account = await open_account(desk)
    listeners = Listeners()
    with listeners.listening({"trade.recorded"}) as heard:
        async with working(desk, broadcaster=listeners):
            booked = await account.trade(Side.BUY, "1", "100")
            message = await asyncio.wait_for(anext(aiter(heard)), 20)
    assert getattr(message, "trade_id", None) == booked.trade.id


async def test_a_trade_reaches_its_tenant_through_redis_and_nobody_else(
    migrated_database: str, redis_url: str, cache_prefix: str
) -> None:
    settings = Settings(redis_url=redis_url, cache_prefix=cache_prefix)
    async with Database(migrated_database, settings=settings) as db:
        ada, eve = await open_account(db), await open_account(db, "eve")
        async with open_live(settings, url=redis_url) as live, telling_worker(db):
            topic = "trade.recorded"
            mine = await live.hub.subscribe(live.keys.events(topic, ada.user.id))
            for_all = live.keys.events(topic)
            others = await live.hub.subscribe(live.keys.events(topic, eve.user.id), for_all)
            async with mine as heard, others as overheard:
                booked = await ada.trade(Side.BUY, "1", "100")
                message = await asyncio.wait_for(anext(aiter(heard)), 20)
                await eve.trade(Side.BUY, "2", "100")
                foreign = await asyncio.wait_for(anext(aiter(overheard)), 20)
    told = json.loads(message.data)
    assert told["data"]["tradeId"] == str(booked.trade.id)
    assert told["user_id"] == str(ada.user.id)
    assert json.loads(foreign.data)["user_id"] == str(eve.user.id)


async def test_what_is_no_tenants_is_told_to_staff_alone(
    migrated_database: str, redis_url: str, cache_prefix: str
) -> None:
    settings = Settings(redis_url=redis_url, cache_prefix=cache_prefix)
    async with Database(migrated_database, settings=settings) as db:
        async with open_live(settings, url=redis_url) as live, telling_worker(db):
            topic = "alert_reported"
            for_all = await live.hub.subscribe(live.keys.events(topic))
            for_staff = await live.hub.subscribe(live.keys.staff_events(topic))
            async with for_all as overheard, for_staff as heard:
                async with db.transaction(system="test") as unit:
                    await report(unit, "Disk is full", "on db1", source="watchdog")
                await asyncio.wait_for(anext(aiter(heard)), 20)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(aiter(overheard)), 0.2)


async def test_two_workers_leave_one_notice_a_message(desk: Database) -> None:
    account = await open_account(desk)
    async with desk.transaction(user=account.user.id) as unit:
        for number in range(40):
            asked = Notice(user_id=account.user.id, channel="log", title=f"n{number}", body="")
            await publish(unit, asked)
    async with working(desk), working(desk):
        await until(lambda: delivered(desk))
    async with desk.read(user=account.user.id) as reader:
        assert await reader.notifications.count() == 80


# ── the end of the work ──────────────────────────────────────────────────────────────────────


def only(monkeypatch: pytest.MonkeyPatch, handler: Any, *, batch: int = 1) -> None:
    mail = Consumer("mail", (AlertReported,), handler, batch=batch)
    monkeypatch.setattr(composition, "consumers", lambda *_: [mail])


async def test_leaving_finishes_what_is_in_hand_and_gives_back_the_rest(
    desk: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_started = asyncio.Event()

    async def slow(unit: UnitOfWork, received: Sequence[Received[AlertReported]]) -> None:
        is_started.set()
        await asyncio.sleep(0.5)
        await leave_effect(unit, "mail", received[0].message.title)

    await make_effects(desk)
    only(monkeypatch, slow)
    await announce(desk, "one", "two", "three")
    async with working(desk):
        await is_started.wait()
    assert await effects(desk, "mail") == ["one"]
    async with working(desk):
        await until(lambda: delivered(desk))
    assert await effects(desk, "mail") == ["one", "two", "three"]


async def test_what_does_not_end_in_time_is_rolled_back_and_delivered_again(
    migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_started, is_stuck = asyncio.Event(), True

    async def stuck(unit: UnitOfWork, received: Sequence[Received[AlertReported]]) -> None:
        for item in received:
            await leave_effect(unit, "mail", item.message.title)
        is_started.set()
        if is_stuck:
            await asyncio.sleep(60)

    hasty = Settings(worker_grace=0.2, worker_idle=0.1)
    async with Database(migrated_database, settings=hasty) as db:
        await make_effects(db)
        only(monkeypatch, stuck, batch=10)
        await announce(db, "one", "two")
        async with working(db):
            await is_started.wait()
        assert await effects(db, "mail") == []
        async with db.read(system="test") as unit:
            assert await unit.failed_deliveries.count() == 0
        is_stuck = False
        async with working(db):
            await until(lambda: delivered(db))
        assert await effects(db, "mail") == ["one", "two"]


async def test_a_worker_outlives_the_loss_of_all_its_connections(
    desk: Database, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def note(unit: UnitOfWork, received: Sequence[Received[AlertReported]]) -> None:
        await leave_effect(unit, "mail", received[0].message.title)

    await make_effects(desk)
    only(monkeypatch, note)
    async with working(desk):
        for number in range(3):
            async with Database(migrated_database) as feed:
                await announce(feed, f"n{number}")
                await cut_other_connections(feed)
        await until(lambda: everything(desk, 3))


async def cut_other_connections(db: Database) -> None:
    async with db.engine.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


async def everything(db: Database, count: int) -> bool:
    try:
        return len(await effects(db, "mail")) == count
    except TradekeepError:
        return False


# ── consumers and jobs ───────────────────────────────────────────────────────────────────────


def test_consumers_have_names_of_their_own_and_every_fact_reaches_listeners() -> None:
    found = consumers(Settings(), Listeners())
    names = [consumer.name for consumer in found]
    assert len(set(names)) == len(names)
    live = found[-1].topics
    assert "alert_triggered" in live and "trade.ingest" not in live


async def test_every_job_runs_and_says_what_it_did(desk: Database) -> None:
    account = await open_account(desk)
    async with desk.transaction(user=account.user.id) as unit:
        screener = await save_screener(unit, "Puts", "csp", {}, auto_run=True, schedule="0 9 * * *")
        screener.next_run_at = now() - timedelta(minutes=1)
        unit.user_sessions.add(
            UserSession(
                user_id=account.user.id,
                token_hash=b"x" * 32,
                issued_at=datetime(2020, 1, 1, tzinfo=UTC),
                last_seen_at=datetime(2020, 1, 1, tzinfo=UTC),
                expires_at=datetime(2020, 1, 2, tzinfo=UTC),
            )
        )
    said = {job.name: await job.run() for job in jobs(desk, Storage("memory:"))}
    assert said["screeners-due"] == "1 screeners due"
    assert said["sessions-prune"] == "1 sessions deleted"
    assert said["attachments-sweep"] == "0 objects deleted"
    assert said["positions-mark"] == "0 positions marked"
    assert said["equity-refresh"] == "1 portfolios valued, 0 could not be"
    async with desk.read(system="test") as reader:
        (due,) = await reader.outbox.all()
    assert (due.topic, due.payload["screenerId"]) == (topic_of(ScreenerDue), str(screener.id))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2024-05-02T00:00:00+00:00", "2024-05-02"),
        ("2024-05-02T20:30:00+00:00", "2024-05-02"),
        ("2024-05-03T01:00:00+00:00", "2024-05-02"),
    ],
)
def test_an_events_day_is_the_exchanges(moment: str, expected: str) -> None:
    assert _day_of(datetime.fromisoformat(moment)).isoformat() == expected


async def test_rules_about_earnings_see_the_next_report(desk: Database) -> None:
    account = await open_account(desk)
    async with desk.transaction(user=account.user.id) as unit:
        await make_alert(
            unit,
            account.instrument,
            alert_type="earnings",
            condition="between",
            threshold=Decimal(0),
            threshold_high=Decimal(7),
            message_template="{symbol} in {value} days",
        )
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    events = [
        NewEvent(
            event_type="earnings",
            name=f"AAPL {days}",
            occurs_at=midnight + timedelta(days=days),
            source="calendar",
            instrument_id=account.instrument.id,
        )
        for days in (-20, 5, 90)
    ]
    async with desk.transaction(system="test") as unit:
        await ingest_events(unit, events)
    (job,) = [item for item in jobs(desk) if item.name == "alerts-earnings"]
    assert await job.run() == "1 rules fired"
    async with desk.read(user=account.user.id) as reader:
        (fired,) = await reader.alert_events.all()
    assert fired.message in {"AAPL in 5 days", "AAPL in 6 days"}, "New York may be a day behind"


async def test_screeners_are_due_once_with_two_workers(desk: Database) -> None:
    account = await open_account(desk)
    async with desk.transaction(user=account.user.id) as unit:
        screener = await save_screener(unit, "Puts", "csp", {}, auto_run=True, schedule="0 9 * * *")
        screener.next_run_at = now() - timedelta(minutes=1)
    async with working(desk), working(desk):
        await until(lambda: job_known(desk))
        async with desk.transaction(system="test") as worker:
            await worker.session.execute(
                update(ScheduledJob).values(next_run_at=now() - timedelta(seconds=1))
            )
        await until(lambda: announced(desk))
        await until(lambda: delivered(desk))
    async with desk.read(system="test") as reader:
        rows = [row for row in await reader.outbox.all() if row.topic == "screener_due"]
    assert len(rows) == 1


async def job_known(db: Database) -> bool:
    async with db.read(system="test") as unit:
        return await unit.jobs.find("screeners-due") is not None


async def announced(db: Database) -> bool:
    async with db.read(system="test") as unit:
        return any(row.topic == "screener_due" for row in await unit.outbox.all())
