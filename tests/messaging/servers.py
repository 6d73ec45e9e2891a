"""Real servers on this machine that answer as they are told: HTTP and SMTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    """What came in by HTTP."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpServer:
    """Answers every POST; `answers` are used up one a request, then 204."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    silent: bool = False

    def url(self, path: str = "/hooks/T0P-SECRET-0123456789abcdef", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not reader.at_eof():
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first, *lines = head.split("\r\n")
        pairs = (line.split(": ", 1) for line in lines if ": " in line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(first.split()[1], headers, body))
        if self.silent:
            await asyncio.sleep(60)
        status, extra = self.answers.pop(0) if self.answers else (204, {})
        answered = {"content-length": "0", **extra}
        text = "".join(f"{name}: {value}\r\n" for name, value in answered.items())
        writer.write(f"HTTP/1.1 {status} Word\r\n{text}\r\n".encode())
        await writer.drain()


@asynccontextmanager
async def http_server() -> AsyncIterator[HttpServer]:
    made = HttpServer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@dataclass
class SmtpServer:
    """Takes mail; `refusals` maps a command to the answer that it gets instead."""

    port: int = 0
    refusals: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 ready")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            word = line.split()[0].upper()
            if word in self.refusals:
                say(self.refusals[word])
            elif word == "EHLO":
                say("250-here\r\n250 AUTH PLAIN")
            elif word == "DATA":
                say("354 go on")
                mail = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(mail.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                break
            else:
                say("250 fine")
        writer.close()


@asynccontextmanager
async def smtp_server() -> AsyncIterator[SmtpServer]:
    made = SmtpServer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
