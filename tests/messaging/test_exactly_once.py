"""Trades from outside through a real worker that is killed, on a PostgreSQL that is killed."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from domain import Database
from domain.db import migrations
from domain.db.embedded import EmbeddedPostgres
from domain.errors import TradekeepError
from domain.messaging.messages import TradeIngested
from domain.messaging.models import OutboxMessage
from domain.messaging.publishing import publish_many
from domain.settings import Settings
from domain.trading.verifying import verify
from tests.factories.identity import make_user
from tests.factories.market import make_instrument
from tests.factories.trading import OPENING_BELL, make_portfolio

_WORKER = [sys.executable, "-c", "from domain.cli import main; main()", "worker"]
_PATIENCE = 240


@dataclass
class Plant:
    """A PostgreSQL server of this test's own, and workers on it."""

    server: EmbeddedPostgres
    folder: Path
    url: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "worker.log"

    def start_worker(self) -> None:
        environment = {
            **os.environ,
            "TRADEKEEP_DATABASE_URL": self.url,
            "TRADEKEEP_DATA_DIR": str(self.folder / "worker"),
        }
        with self.log.open("ab") as log:
            self.workers.append(subprocess.Popen(_WORKER, env=environment, stdout=log, stderr=log))

    def kill_worker(self) -> None:
        oldest = self.workers.pop(0)
        assert oldest.poll() is None, self.log.read_text()[-2_000:]
        oldest.send_signal(signal.SIGKILL)
        oldest.wait()

    def kill_server(self) -> None:
        pid = int((self.server.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        self.server.start()

    def stop_workers(self) -> list[int]:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        return [worker.wait(30) for worker in self.workers]

    def stop(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        self.server.stop()


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    # Not tmp_path: pytest closes that one to the system user that the server of root runs as.
    folder = Path(tempfile.mkdtemp(prefix="tradekeep-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres")
    made = Plant(server, folder, await asyncio.to_thread(server.start))
    try:
        await migrations.upgrade(made.url)
        yield made
    finally:
        await asyncio.to_thread(made.stop)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Desk:
    """Portfolios, instruments, and the trades that are sent."""

    user_id: UUID
    portfolios: list[UUID]
    symbols: list[str]

    def trades(self, count: int) -> Iterator[TradeIngested]:
        chance = random.Random(7)
        for number in range(count):
            yield TradeIngested(
                user_id=self.user_id,
                portfolio_id=self.portfolios[number % len(self.portfolios)],
                external_id=f"fill-{number}",
                symbol=chance.choice(self.symbols),
                side=chance.choice(["buy", "sell"]),
                quantity=Decimal(chance.randrange(1, 500)).scaleb(-1),
                price=Decimal(chance.randrange(1_000, 9_000)).scaleb(-2),
                executed_at=OPENING_BELL + timedelta(seconds=number),
                fees=Decimal("0.35"),
                source="nof0",
            )


async def make_desk(db: Database) -> Desk:
    symbols = ["AAPL", "MSFT", "NVDA", "SPY", "TSLA"]
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        for symbol in symbols:
            await make_instrument(unit, symbol)
        portfolios = [await make_portfolio(unit, user, f"Agent {number}") for number in range(6)]
    return Desk(user.id, [portfolio.id for portfolio in portfolios], symbols)


def poison(desk: Desk, number: int) -> OutboxMessage:
    """Return a row that no consumer can book: each of another kind."""
    good = {
        "type": "trade.ingest",
        "userId": str(desk.user_id),
        "portfolioId": str(desk.portfolios[number % len(desk.portfolios)]),
        "externalId": f"poison-{number}",
        "symbol": "AAPL",
        "side": "buy",
        "quantity": "1",
        "price": "100",
        "executedAt": "2024-01-02T15:00:00Z",
        "source": "nof0",
    }
    wrong = [
        {"quantity": "-1"},
        {"quantity": 1.5},
        {"executedAt": "2024-01-02T15:00:00"},
        {"side": "long"},
        {"externalId": "fill-0", "portfolioId": str(desk.portfolios[0]), "price": "1"},
    ][number % 5]
    return OutboxMessage(
        topic="trade.ingest",
        key=good["portfolioId"],
        user_id=desk.user_id,
        payload={**good, **wrong},
    )


REASONS = (
    "InvalidData: quantity must be positive; the side gives the direction, was '-1'",
    "InvalidData: quantity must be a string: a number loses digits, was 1.5",
    "InvalidData: executedAt must be a time with its zone, was '2024-01-02T15:00:00'",
    "InvalidData: side must be buy or sell, was 'long'",
)


async def send(db: Database, desk: Desk, count: int) -> dict[tuple[UUID, str], Decimal]:
    """Send trades in disorder, every seventh again later, and poison; return the net quantities."""
    trades = list(desk.trades(count))
    again = trades[::7]
    random.Random(3).shuffle(again)
    net: defaultdict[tuple[UUID, str], Decimal] = defaultdict(Decimal)
    for trade in trades:
        signed = trade.quantity if trade.side == "buy" else -trade.quantity
        net[(trade.portfolio_id, trade.symbol or "")] += signed
    stream = trades + again
    for start in range(0, len(stream), 2_000):
        async with db.transaction(system="feed") as unit:
            await publish_many(unit, stream[start : start + 2_000])
            if start == 0 or start >= len(stream) - 2_000:
                unit.session.add_all(poison(desk, number) for number in range(start, start + 5))
    return net


async def scalar(db: Database, query: str) -> int:
    async with db.read(system="test") as unit:
        return int((await unit.session.scalars(text(query))).one())


async def booked(db: Database) -> int:
    try:
        return await scalar(db, "SELECT count(*) FROM trading.trades")
    except TradekeepError:
        return 0


async def until(db: Database, plant: Plant, count: int) -> None:
    """Wait until so many trades are booked."""
    async with asyncio.timeout(_PATIENCE):
        while await booked(db) < count:
            await asyncio.sleep(0.02)


async def until_delivered(db: Database) -> None:
    waiting = "SELECT count(*) FROM messaging.outbox WHERE published_at IS NULL"
    async with asyncio.timeout(_PATIENCE):
        while await scalar(db, waiting):
            await asyncio.sleep(0.05)


async def survive(plant: Plant, count: int, *, worker_kills: int, server_kills: int) -> None:
    async with Database(plant.url, settings=Settings(connect_timeout=30)) as db:
        desk = await make_desk(db)
        net = await send(db, desk, count)
        plant.start_worker()
        kills = ["worker"] * worker_kills + ["server"] * server_kills
        random.Random(11).shuffle(kills)
        for number, victim in enumerate(kills, start=1):
            await until(db, plant, count * number // (len(kills) + 2))
            if victim == "worker":
                plant.kill_worker()
                plant.start_worker()
            else:
                await asyncio.to_thread(plant.kill_server)
        await until_delivered(db)
        assert plant.stop_workers() == [0]
        await check(db, count, net)


async def check(db: Database, count: int, net: dict[tuple[UUID, str], Decimal]) -> None:
    assert await scalar(db, "SELECT count(*) FROM trading.trades") == count
    ids = "SELECT count(DISTINCT external_id) FROM trading.trades WHERE external_id LIKE 'fill-%'"
    assert await scalar(db, ids) == count
    async with db.snapshot(system="test") as unit:
        held = await unit.session.execute(
            text(
                "SELECT p.portfolio_id, i.symbol, p.quantity"
                " FROM trading.positions p JOIN market.instruments i ON i.id = p.instrument_id"
                " WHERE p.status = 'open'"
            )
        )
        assert {(row[0], row[1]): row[2] for row in held} == {
            key: quantity for key, quantity in net.items() if quantity
        }
        verdicts = [verdict async for verdict in verify(unit, await unit.portfolios.all())]
        assert [verdict.breaks for verdict in verdicts if verdict.breaks] == []
        dead = await unit.failed_deliveries.all()
    assert sum(verdict.trades for verdict in verdicts) == count
    assert len(dead) == 10 and all(item.dead_at is not None for item in dead)
    reasons = [item.last_error for item in dead]
    assert all(reasons.count(reason) == 2 for reason in REASONS), reasons
    assert sum("was booked before with another" in reason for reason in reasons) == 2


async def test_no_trade_is_lost_or_doubled_when_workers_and_the_server_are_killed(
    plant: Plant,
) -> None:
    await survive(plant, 2_000, worker_kills=2, server_kills=1)


@pytest.mark.torture
async def test_twenty_thousand_trades_survive_eight_kills_of_the_worker_and_five_of_the_server(
    plant: Plant,
) -> None:
    await survive(plant, 20_000, worker_kills=8, server_kills=5)
