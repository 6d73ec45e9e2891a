"""Servers of a test's own: a cluster of three, and what can befall a server."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.cache.embedded import EmbeddedValkey, server_binary


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Node:
    server: EmbeddedValkey
    port: int

    @property
    def client(self) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, socket_timeout=5)


@dataclass
class Cluster:
    """Three primaries; the first one has a replica."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def fail_over(self) -> None:
        """Kill the first primary and wait until its replica has taken its place."""
        os.kill(self.nodes[0].server.pid, signal.SIGKILL)
        replica = self.nodes[3].client
        for _ in range(600):
            if (await replica.info("replication"))["role"] == "master":
                break
            await asyncio.sleep(0.05)
        await replica.aclose()


@asynccontextmanager
async def started_cluster(folder: Path) -> AsyncIterator[Cluster]:
    nodes = [_node(folder / str(number)) for number in range(4)]
    try:
        await _join(nodes)
        yield Cluster(nodes)
    finally:
        for node in nodes:
            node.server.stop()


def _node(folder: Path) -> Node:
    port = free_port()
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "cluster-enabled": "yes",
        "cluster-node-timeout": "1000",
        "cluster-port": str(free_port()),
        "cluster-require-full-coverage": "no",
        "appendonly": "no",
    }
    server = EmbeddedValkey(folder, options=options)
    server.start()
    return Node(server, port)


async def _join(nodes: list[Node]) -> None:
    clients = [node.client for node in nodes]
    bus = [(await client.execute_command("CLUSTER", "MYID")).decode() for client in clients]
    for number, (client, first, last) in enumerate(
        zip(clients[:3], (0, 5461, 10923), (5460, 10922, 16383), strict=True)
    ):
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        await client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for node, client in zip(nodes[1:], clients[1:], strict=True):
        port = (await client.config_get("cluster-port"))["cluster-port"]
        await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, port)
    await _until(clients, lambda info: info["cluster_known_nodes"] == "4")
    await clients[3].execute_command("CLUSTER", "REPLICATE", bus[0])
    await _until(clients, lambda info: info["cluster_state"] == "ok")
    for _ in range(400):
        if (await clients[3].info("replication")).get("master_link_status") == "up":
            break
        await asyncio.sleep(0.05)
    for client in clients:
        await client.aclose()


async def _until(clients: list[Redis], holds: object) -> None:
    for client in clients:
        for _ in range(400):
            text = (await client.execute_command("CLUSTER", "INFO")).decode()
            info = dict(line.split(":", 1) for line in text.split() if ":" in line)
            if holds(info):  # type: ignore[operator]
                break
            await asyncio.sleep(0.05)
        else:
            raise TimeoutError(info)


@dataclass
class Watched:
    """A primary and a replica that one Sentinel watches."""

    primary: Node
    replica: Node
    sentinel_port: int

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel_port}/desk/0"

    async def fail_over(self) -> None:
        """Kill the primary and wait until Sentinel has put the replica in its place."""
        os.kill(self.primary.server.pid, signal.SIGKILL)
        client = Redis(host="127.0.0.1", port=self.sentinel_port)
        for _ in range(600):
            address = await client.sentinel_get_master_addr_by_name("desk")
            if address is not None and int(address[1]) == self.replica.port:
                break
            await asyncio.sleep(0.05)
        await client.aclose()


@asynccontextmanager
async def started_sentinel(folder: Path) -> AsyncIterator[Watched]:
    primary, replica = (_alone(folder / name) for name in ("primary", "replica"))
    client = replica.client
    await client.replicaof("127.0.0.1", primary.port)
    for _ in range(400):
        if (await client.info("replication")).get("master_link_status") == "up":
            break
        await asyncio.sleep(0.05)
    await client.aclose()
    port = free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\n"
        f"sentinel monitor desk 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds desk 500\nsentinel failover-timeout desk 5000\n"
    )
    process = await asyncio.create_subprocess_exec(
        str(server_binary()), str(configuration), "--sentinel", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await _knows_the_replica(port)
        yield Watched(primary, replica, port)
    finally:
        process.kill()
        await process.wait()
        for node in (primary, replica):
            node.server.stop()


def _alone(folder: Path) -> Node:
    port = free_port()
    server = EmbeddedValkey(folder, options={"port": str(port), "bind": "127.0.0.1"})
    server.start()
    return Node(server, port)


async def _knows_the_replica(port: int) -> None:
    client = Redis(host="127.0.0.1", port=port)
    for _ in range(600):
        try:
            if await client.sentinel_slaves("desk"):
                break
        except RedisError:
            pass
        await asyncio.sleep(0.05)
    await client.aclose()
