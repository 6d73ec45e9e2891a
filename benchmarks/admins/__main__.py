"""`make bench-admin`: prints processor time a page, application and database together.

Every page is asked for in rounds, one contestant after the other, on one table; the best round
counts. Sizes: ``python -m benchmarks.admins 1000000 10000000``.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import asyncpg
import httpx2 as httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.admins.contest import Contest, Contestant, Spent, served
from benchmarks.admins.ground import SEARCHED, Ground, prepare
from domain.testing import embedded_for_tests, new_database

SCENARIOS = ("list", "depth", "search", "filter", "edit")
ROUNDS = 3
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
    }
    stock = {
        "list": "/admin/trade/list",
        "depth": f"/admin/trade/list?page={page}",
        "search": f"/admin/trade/list?search={SEARCHED}",
        "filter": "/admin/trade/list?side=buy",
        "edit": f"/admin/entry/edit/{ground.entry}",
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


def contend(server: str, rows: int) -> Results:
    """Fill a database, measure, print."""
    with new_database(server) as url:
        _CONSOLE.print(f"filling {rows:,} trades …", style="dim")
        ground = asyncio.run(prepare(url, rows))
        with all_served(ground, rows) as contestants:
            results = measure(Contest(asyncio.run(_postmaster(url))), contestants)
    show(rows, results)
    return results


async def _postmaster(url: str) -> int:
    """Return the process that all of PostgreSQL's processes are children of."""
    raw = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        return psutil.Process(await raw.fetchval("SELECT pg_backend_pid()")).ppid()
    finally:
        await raw.close()


def main(sizes: list[int]) -> int:
    """Measure every size; return 1 when a target is missed."""
    with embedded_for_tests() as server:
        url = server.url("postgres")
        found = {rows: contend(url, rows) for rows in sizes}
    misses = [
        f"{rows:,} {scenario}: {spent['tradekeep'].cpu / _fastest(spent):.2f} of the fastest"
        for rows, results in found.items()
        for scenario, spent in results.items()
        if spent["tradekeep"].cpu > _fastest(spent) * (1 if scenario == "edit" else 0.25)
    ]
    small, large = found[min(sizes)], found[max(sizes)]
    misses += [
        f"{scenario}: {large[scenario]['tradekeep'].cpu / ours:.2f} of the small table"
        for scenario, ours in ((name, spent["tradekeep"].cpu) for name, spent in small.items())
        if large[scenario]["tradekeep"].cpu > 1.3 * ours
    ]
    for miss in misses:
        _CONSOLE.print(f"missed: {miss}", style="red")
    return 1 if misses else 0


def _fastest(spent: dict[str, Spent]) -> float:
    return min(item.cpu for name, item in spent.items() if name != "tradekeep")


if __name__ == "__main__":
    sys.exit(main([int(text) for text in sys.argv[1:]] or [1_000_000, 10_000_000]))
