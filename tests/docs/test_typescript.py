"""The TypeScript reader of the contract: it compiles strictly and reads what we publish."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from queue import Queue
from typing import Any, Final

import pytest

from domain.cache.embedded import EmbeddedValkey
from domain.cache.keys import written
from domain.realtime import Quote, open_live
from tests.docs.reading import ROOT

_EXAMPLE: Final = ROOT / "docs" / "examples" / "typescript"
_INSTALL: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
WHEN = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)


def missing() -> str | None:
    """Return why the reader cannot be tested here, None when it can; installs what npm has."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} was not found"
    if not (_EXAMPLE / "node_modules" / "typescript").is_dir():
        done = subprocess.run(
            _INSTALL, cwd=_EXAMPLE, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            return f"npm could not install TypeScript: {done.stderr.strip()[-200:]}"
    return None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled reader."""
    if reason := missing():
        if os.environ.get("TRADEKEEP_REQUIRE_NODE"):
            pytest.fail(f"the TypeScript reader cannot be tested: {reason}")
        pytest.skip(f"the TypeScript reader is not tested: {reason}")
    target = tmp_path_factory.mktemp("typescript")
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", "--outDir", str(target)],
        cwd=_EXAMPLE, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    (target / "package.json").write_text('{"type": "module"}')
    return target


def answer(reader: Path, expression: str) -> Any:
    """Evaluate an expression on the reader's exports."""
    code = f'import * as r from "{reader / "reader.js"}"; console.log(JSON.stringify({expression}))'
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def following(reader: Path, *words: str) -> Iterator[Callable[[], Any]]:
    """Run the example and give what returns its next line."""
    process = subprocess.Popen(
        ["node", str(reader / "follow.js"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    lines: Queue[str] = Queue()

    def read(stream: Any) -> None:
        for line in stream:
            lines.put(line)

    reading = threading.Thread(target=read, args=(process.stdout,))
    reading.start()
    try:
        yield lambda: json.loads(lines.get(timeout=20))
    finally:
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        reading.join()
        process.stdout.close()


def test_both_write_the_same_keys(reader: Path) -> None:
    symbols = [
        "AAPL",
        "BRK B",
        "BTC/USD",
        "^GSPC",
        "ES=F",
        "a:b{c}",
        "É€😀",
        "100%",
        "x~!*'()$,;&?#+@",
    ]
    assert answer(reader, f"{json.dumps(symbols)}.map(r.part)") == [written(s) for s in symbols]


def test_a_cached_answer_is_taken_out_of_its_envelope(reader: Path) -> None:
    envelope = json.dumps('{"ct":1.5,"v":2,"data":{"cash":"1.10"}}')
    assert answer(reader, f"r.cached({envelope})") == {"cash": "1.10"}
    assert answer(reader, "r.cached(null)") is None


async def test_a_reader_sees_the_newest_quote_and_every_one_after_it(
    reader: Path, redis_server: EmbeddedValkey
) -> None:
    async with open_live(url=redis_server.url, prefix="t") as live:
        exact = Decimal("12345678901234567.123456789012345678")
        await live.publish_quotes([Quote("BRK B", WHEN, last=exact)])
        with following(reader, redis_server.url, "t", "AAPL", "BRK B") as line:
            assert line() == {
                "symbol": "BRK B",
                "time": "2026-03-02T15:30:00Z",
                "last": "12345678901234567.123456789012345678",
            }
            later = WHEN + timedelta(microseconds=1_000)
            await live.publish_quotes([Quote("AAPL", later, bid=Decimal("1.10"), ask=Decimal(2))])
            assert line()["bid"] == "1.10"

            os.kill(redis_server.pid, signal.SIGKILL)
            redis_server.start()
            latest = Quote("AAPL", later + timedelta(seconds=1), last=Decimal(3))
            await live.publish_quotes([latest])
            assert line()["last"] == "3", "read again after the connection was lost"
