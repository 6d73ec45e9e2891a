"""With Sentinel, live data follows the primary to where it went."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.cache.embedded import EmbeddedValkey, server_binary
from domain.errors import Unavailable
from domain.realtime import Gap, Message, Update, open_live
from domain.realtime.hub import Timing
from tests.cache.servers import free_port

HASTY = Timing(heartbeat=0.3, connect=2, first_pause=0.01, longest_pause=0.2)
WATCH = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor main 127.0.0.1 {primary} 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
"""


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[EmbeddedValkey, int]]:
    """Run a primary, a replica and a Sentinel; give the primary and the Sentinel's port."""
    first, second, port = free_port(), free_port(), free_port()
    settings = {"bind": "127.0.0.1", "repl-diskless-sync-delay": "0"}
    primary = EmbeddedValkey(folder / "primary", options={"port": str(first), **settings})
    copy = {"port": str(second), "replicaof": f"127.0.0.1 {first}", **settings}
    replica = EmbeddedValkey(folder / "replica", options=copy)
    configuration = folder / "sentinel.conf"
    configuration.write_text(WATCH.format(port=port, folder=folder, primary=first))
    primary.start()
    replica.start()
    # A Sentinel asks the primary for its replicas when it starts, and then every ten seconds.
    async with asyncio.timeout(30), Redis(host="127.0.0.1", port=first) as client:
        while (await client.info("replication")).get("slave0", {}).get("state") != "online":
            await asyncio.sleep(0.05)
    sentinel = subprocess.Popen(
        [str(server_binary()), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30), Redis(host="127.0.0.1", port=port) as client:
            while not await knows_a_replica(client):
                await asyncio.sleep(0.05)
        yield primary, port
    finally:
        sentinel.terminate()
        sentinel.wait(timeout=20)
        replica.stop()
        primary.stop()


async def knows_a_replica(client: Redis) -> bool:
    with suppress(RedisError):
        return bool(await client.execute_command("SENTINEL", "REPLICAS", "main"))
    return False


async def test_a_failover_becomes_a_gap_and_messages_flow_again(tmp_path: Path) -> None:
    async with (
        watched(tmp_path) as (primary, port),
        open_live(
            url=f"redis+sentinel://127.0.0.1:{port}/main/0", prefix="t", timing=HASTY
        ) as live,
    ):
        channel = live.keys.events("news")
        async with await live.hub.subscribe(channel) as subscription:
            async with asyncio.timeout(30):
                while not live.hub.statistics().is_connected:
                    await asyncio.sleep(0.05)
            os.kill(primary.pid, signal.SIGKILL)
            seen: list[bytes] = []
            gaps = 0
            async with asyncio.timeout(60):
                while b"after" not in seen:
                    with suppress(Unavailable):
                        await live.publisher.publish([Update(channel, b"after")])
                    await asyncio.sleep(0.1)
                    while subscription.waiting:
                        item = await anext(subscription)
                        gaps += isinstance(item, Gap)
                        seen += [item.data] if isinstance(item, Message) else []
            assert gaps >= 1
            assert live.hub.statistics().reconnections >= 1
