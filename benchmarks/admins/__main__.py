"""`make bench-admin`: prints processor time a page, application and database together.

Every page is asked for in rounds, one contestant after the other, on one table; the best round
counts. Sizes: ``python -m benchmarks.admins 1000000 10000000``.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import httpx2 as httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.admins.contest import Contest, Contestant, Spent, served
from benchmarks.admins.exports import Exported, measure_export
from benchmarks.admins.ground import SEARCHED, Ground, prepare
from domain.db.embedded import EmbeddedPostgres
from domain.testing import new_database

SCENARIOS = ("list", "depth", "search", "filter", "edit")
ROUNDS = 3
MOST_FOR_STOCK = 1_000_000
"""Trades that stock sqladmin can export: it holds all of them, some 2.4 KB each."""

FIRST_BYTE_S, FLAT_MB = 1.0, 50.0

_CONSOLE = Console(width=120)
Results = dict[str, dict[str, Spent]]


def measure(contest: Contest, contestants: list[Contestant]) -> Results:
    """Return the best round of each contestant in each scenario."""
    best: Results = {scenario: {} for scenario in SCENARIOS}
    for _ in range(ROUNDS):
        for scenario in SCENARIOS:
            for contestant in contestants:
                spent = contest.turn(contestant, scenario)
                known = best[scenario].get(contestant.name)
                if known is None or spent.cpu < known.cpu:
                    best[scenario][contestant.name] = spent
    return best


@contextmanager
def all_served(ground: Ground, rows: int) -> Iterator[list[Contestant]]:
    """Serve everybody."""
    page = rows // 100
    ours = {
        "list": "/admin/trades/list",
        "depth": "",
        "search": f"/admin/trades/list?q={SEARCHED}",
        "filter": "/admin/trades/list?side=buy",
        "edit": f"/admin/journal-entries/edit/{ground.entry}",
        "export": "/admin/trades/export.csv",
    }
    stock = {
        "list": "/admin/trade/list",
        "depth": f"/admin/trade/list?page={page}",
        "search": f"/admin/trade/list?search={SEARCHED}",
        "filter": "/admin/trade/list?side=buy",
        "edit": f"/admin/entry/edit/{ground.entry}",
        "export": "/admin/trade/export/csv",
    }
    starlette = {
        **stock,
        "search": f"/admin/trade/list?q={SEARCHED}",
        "filter": "/admin/trade/list?filter=side__eq=buy",
        "edit": f"/admin/entry/edit?pk={ground.entry}",
    }
    django = {
        "list": "/admin/auth/trade/",
        "depth": f"/admin/auth/trade/?p={page}",
        "search": f"/admin/auth/trade/?q={SEARCHED}",
        "filter": "/admin/auth/trade/?side__exact=buy",
        "edit": f"/admin/auth/entry/{ground.entry}/change/",
    }
    session = _django_session(ground.url)
    entries = (
        ("tradekeep", "admin.app:create_app", {"tradekeep": ground.token}, ours),
        ("sqladmin", "benchmarks.admins.rivals:sqladmin_app", {}, stock),
        ("starlette-admin", "benchmarks.admins.rivals:starlette_admin_app", {}, starlette),
        ("Django", "benchmarks.admins.django_rival:application", {"sessionid": session}, django),
    )
    with ExitStack() as stack:
        found = []
        for name, target, cookies, pages in entries:
            address, pid = stack.enter_context(served(target, ground.url))
            found.append(Contestant(name, address, psutil.Process(pid), cookies, pages))
        ours["depth"] = _depth(found[0])
        yield found


def _depth(ours: Contestant) -> str:
    """Return the page that follows the one of a day in the middle."""
    with httpx.Client(cookies=dict(ours.cookies), timeout=60) as client:
        first = client.get(f"{ours.address}/admin/trades/list?to=2010-03-01").text
    (link,) = re.findall(r'rel="next" href="([^"]+)"', first)
    return f"/admin/trades/list{link.replace('&amp;', '&')}"


def _django_session(url: str) -> str:
    command = [sys.executable, "-m", "benchmarks.admins.django_rival"]
    environment = {**os.environ, "BENCH_URL": url}
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)  # noqa: S603 - our own
    return done.stdout.strip()


def show(rows: int, results: Results) -> None:
    """Print a table."""
    table = Table(title=f"{rows:,} trades: processor milliseconds a page (best of {ROUNDS} rounds)")
    for name in (
        "page",
        "contestant",
        "application",
        "database",
        "both",
        "of fastest",
        "wall",
        "KB",
    ):
        table.add_column(name, justify="left" if name in {"page", "contestant"} else "right")
    for scenario, spent in results.items():
        fastest = min(item.cpu for name, item in spent.items() if name != "tradekeep")
        for name, item in spent.items():
            figures = (item.app, item.database, item.cpu, item.cpu / fastest, item.wall)
            texts = (f"{figure:.2f}" for figure in figures)
            table.add_row(
                scenario if name == "tradekeep" else "", name, *texts, f"{item.size / 1000:.0f}"
            )
        table.add_section()
    _CONSOLE.print(table)


def show_exports(rows: int, exported: dict[str, Exported]) -> None:
    """Print what a file of all trades was like."""
    table = Table(title=f"{rows:,} trades as CSV, while somebody else reads the list")
    table.add_column("contestant")
    for name in ("first byte s", "all s", "MB", "memory +MB", "list p99 ms", "meanwhile p99 ms"):
        table.add_column(name, justify="right")
    for name, item in exported.items():
        times = (f"{item.first_byte:.2f}", f"{item.total:.1f}")
        sizes = (f"{figure:.0f}" for figure in (item.size, item.growth, item.quiet, item.busy))
        table.add_row(name, *times, *sizes)
    _CONSOLE.print(table)


def contend(server: str, rows: int) -> tuple[Results, Exported]:
    """Fill a database, measure, print."""
    with new_database(server) as url:
        _CONSOLE.print(f"filling {rows:,} trades …", style="dim")
        ground = asyncio.run(prepare(url, rows))
        with all_served(ground, rows) as contestants:
            results = measure(Contest(asyncio.run(_postmaster(url))), contestants)
            # Django has no export, and starlette-admin's ends at 100,000 rows.
            exporters = contestants[: 2 if rows <= MOST_FOR_STOCK else 1]
            exported = {item.name: measure_export(item) for item in exporters}
    show(rows, results)
    show_exports(rows, exported)
    return results, exported["tradekeep"]


async def _postmaster(url: str) -> int:
    """Return the process that all of PostgreSQL's processes are children of."""
    raw = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        return psutil.Process(await raw.fetchval("SELECT pg_backend_pid()")).ppid()
    finally:
        await raw.close()


def main(sizes: list[int]) -> int:
    """Measure every size; return 1 when a target is missed."""
    folder = Path(tempfile.gettempdir()) / f"tradekeep-bench-{os.geteuid()}"
    with EmbeddedPostgres(folder, fast=True) as server:
        found = {rows: contend(server.url("postgres"), rows) for rows in sizes}
    misses = [miss for rows, (results, _) in found.items() for miss in _slow(rows, results)]
    misses += [miss for rows, (_, exported) in found.items() for miss in _heavy(rows, exported)]
    misses += _grown(found[min(sizes)][0], found[max(sizes)][0])
    for miss in misses:
        _CONSOLE.print(f"missed: {miss}", style="red")
    return 1 if misses else 0


def _slow(rows: int, results: Results) -> Iterator[str]:
    """Yield the pages that cost more than they may beside the fastest of the others."""
    for scenario, spent in results.items():
        share = spent["tradekeep"].cpu / _fastest(spent)
        if share > (1 if scenario == "edit" else 0.25):
            yield f"{rows:,} {scenario}: {share:.2f} of the fastest"


def _heavy(rows: int, exported: Exported) -> Iterator[str]:
    if exported.first_byte >= FIRST_BYTE_S:
        yield f"{rows:,} export: first byte after {exported.first_byte:.2f} s"
    if exported.growth >= FLAT_MB:
        yield f"{rows:,} export: {exported.growth:.0f} MB more"


def _grown(small: Results, large: Results) -> Iterator[str]:
    """Yield the pages that cost more in a larger table."""
    for scenario, spent in small.items():
        growth = large[scenario]["tradekeep"].cpu / spent["tradekeep"].cpu
        if growth > 1.3:
            yield f"{scenario}: {growth:.2f} of the small table"


def _fastest(spent: dict[str, Spent]) -> float:
    return min(item.cpu for name, item in spent.items() if name != "tradekeep")


if __name__ == "__main__":
    sys.exit(main([int(text) for text in sys.argv[1:]] or [1_000_000, 10_000_000]))
