"""A real TimescaleDB for the tests: PostgreSQL and the extension in WebAssembly, run by node."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent
_PACKAGE: Final = _FOLDER / "node_modules" / "@unni-craftsman" / "pglite"
_INSTALL: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def missing() -> str | None:
    """Return why TimescaleDB cannot be tested here, None when it can; installs what npm has."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} was not found"
    if not _PACKAGE.is_dir():
        done = subprocess.run(
            _INSTALL, cwd=_FOLDER, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            return f"npm could not install PGlite with TimescaleDB: {done.stderr.strip()[-200:]}"
    return None


@contextmanager
def serving() -> Iterator[str]:
    """Start the server, give its URL, and stop it."""
    process = subprocess.Popen(
        ["node", str(_FOLDER / "bridge.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres?ssl=disable"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=20)
