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

from domain.cache.embedded import EmbeddedValkey


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
