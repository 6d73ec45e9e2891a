"""The worker: relay, notices and jobs of all areas, running until the block ends.

What runs is put together here; how each part works is in `domain.messaging` and its area.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import httpx2

from domain.alerts.notifying import note_told, tell_alerts
from domain.database import Database
from domain.identity.encryption import Keyring
from domain.identity.notifying import StoredAddresses, take_notices
from domain.journal.following import follow_trades
from domain.messaging.broadcasting import Broadcaster, live_consumer
from domain.messaging.channels import Channel, LogChannel
from domain.messaging.consuming import Consumer, Patience
from domain.messaging.looping import Step, keep_doing
from domain.messaging.mailing import MailChannel, MailServer
from domain.messaging.messages import (
    AlertReported,
    AlertTriggered,
    AnalysisComplete,
    Notice,
    ScreenerComplete,
    TradeIngested,
    TradeRecorded,
    TradesRecorded,
)
from domain.messaging.posting import DiscordChannel, SlackChannel, WebhookChannel, http_client
from domain.messaging.relaying import Relay
from domain.messaging.scheduling import Scheduler
from domain.messaging.sending import Sender
from domain.ops.jobs import jobs
from domain.ops.telling import LiveTeller
from domain.realtime import open_live
from domain.research.notifying import tell_results
from domain.settings import Settings
from domain.storage import Storage
from domain.trading.ingesting import ingest_trades

_NOTICES: Final = 50
_LOG: Final = logging.getLogger("tradekeep.worker")


def consumers(settings: Settings, broadcaster: Broadcaster | None = None) -> Sequence[Consumer]:
    """Return every consumer of every area.

    All workers of a database must know the same ones: a message is published when each of them
    is done, and one that comes with a new version does not get what was published before.
    """
    batch = settings.worker_batch
    found = [
        Consumer("trade-ingest", (TradeIngested,), ingest_trades, batch=batch, parallel=2),
        Consumer("journal-profit", (TradeRecorded, TradesRecorded), follow_trades, batch=batch),
        Consumer("alert-notices", (AlertTriggered, AlertReported), tell_alerts, batch=_NOTICES),
        Consumer(
            "research-notices", (AnalysisComplete, ScreenerComplete), tell_results, batch=_NOTICES
        ),
        Consumer("notices", (Notice,), take_notices, batch=_NOTICES),
    ]
    return [*found, live_consumer(broadcaster)] if broadcaster is not None else found


@asynccontextmanager
async def working(
    db: Database, *, broadcaster: Broadcaster | None = None, storage: Storage | None = None
) -> AsyncIterator[Relay]:
    """Work while the block runs; leaving it ends what is in hand and gives back the rest.

    What is in hand gets ``worker_grace`` seconds; after that it is rolled back and delivered
    again. The database may go away and come back meanwhile.

    Args:
        db: An open database; its settings apply.
        broadcaster: Reaches live listeners; None when there are none.
        storage: Where attachments are; None leaves them alone.
    """
    settings = db.settings
    relay = Relay(db, consumers(settings, broadcaster), Patience.of(settings))
    stopping = asyncio.Event()
    async with http_client(settings) as client:
        steps = [
            *_deliveries(relay),
            ("sending", sender(db, client).send_due),
            ("jobs", Scheduler(db, jobs(db, storage)).run_due),
        ]
        tasks = [
            asyncio.create_task(
                keep_doing(name, step, stopping, idle=settings.worker_idle), name=name
            )
            for name, step in steps
        ]
        try:
            yield relay
        finally:
            stopping.set()
            relay.is_stopping = True
            await _end(tasks, settings.worker_grace)


@asynccontextmanager
async def telling_worker(db: Database) -> AsyncIterator[Relay]:
    """Work as `working` does, with the settings' storage, and tell live listeners what happens.

    Args:
        db: An open database; without a Redis nobody listens.
    """
    storage = Storage(settings=db.settings)
    if db.redis_address is None or db.redis_address.is_memory:
        async with working(db, storage=storage) as relay:
            yield relay
        return
    async with open_live(db.settings, address=db.redis_address) as live:
        teller = LiveTeller(live.broadcaster)
        async with working(db, broadcaster=teller, storage=storage) as relay:
            yield relay


def sender(db: Database, client: httpx2.AsyncClient) -> Sender:
    """Return the sender of notices with the channels that the settings allow.

    Raises:
        ConfigurationError: The mail server or the encryption keys are set wrongly.
    """
    settings = db.settings
    channels: dict[str, Channel] = {
        "log": LogChannel(),
        "webhook": WebhookChannel(client),
        "discord": DiscordChannel(client),
        "slack": SlackChannel(client),
    }
    if mail_server := MailServer.of(settings):
        channels["email"] = MailChannel(mail_server)
    keys = settings.encryption_keys
    addresses = StoredAddresses(Keyring.parse(keys.get_secret_value()) if keys else None)
    return Sender(db, channels, addresses, Patience.of(settings), note_told)


def _deliveries(relay: Relay) -> Iterator[tuple[str, Step]]:
    for consumer in relay.consumers:
        for _ in range(consumer.parallel):
            yield consumer.name, partial(relay.deliver, consumer)
    yield "settling", relay.settle


async def _end(tasks: Sequence[asyncio.Task[None]], grace: float) -> None:
    _, late = await asyncio.wait(tasks, timeout=grace)
    for task in late:
        _LOG.warning("%s was broken off after %g s", task.get_name(), grace)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
