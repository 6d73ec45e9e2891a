"""`make bench`: measures everything and prints one table."""

import asyncio
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks import booking, caching, live, reading, series, writing
from benchmarks.ground import prepare
from benchmarks.interleaving import Best, Case, measure
from domain.testing import embedded_for_tests, new_database

_CONSOLE = Console(width=120)


async def run(url: str) -> list[tuple[Case, dict[str, Best]]]:
    """Measure every case on the database at `url`."""
    ground, db = await prepare(url)
    try:
        async with caching.peers(url) as rivals:
            results = await _measured(await caching.cases(ground, rivals))
        async with live.cases() as broadcasts:
            results += await _measured(broadcasts)
        results += await _measured(
            [
                *booking.replays(),
                *reading.cases(ground),
                *writing.cases(ground),
                *await booking.bookings(ground),
                *await series.cases(ground),
            ]
        )
        database = await series.latest_price_milliseconds(ground)
        _CONSOLE.print(f"latest price of 200 instruments: {database:.2f} ms in the database (≤ 3)")
        return results
    finally:
        await ground.raw.close()
        await ground.engine.dispose()
        await db.__aexit__()


async def _measured(cases: Sequence[Case]) -> list[tuple[Case, dict[str, Best]]]:
    results = []
    for case in cases:
        _CONSOLE.print(f"{case.name} …", style="dim")
        results.append((case, await measure(case)))
    return results


def show(results: list[tuple[Case, dict[str, Best]]]) -> bool:
    """Print the table; return whether every target was met."""
    table = Table(title="Time divided by that of the first contestant (best turns)")
    for name in ("case", "contestant", "wall ms", "wall", "cpu", "target"):
        table.add_column(name, justify="left" if name in {"case", "contestant"} else "right")
    verdicts = [_add(table, case, best) for case, best in results]
    _CONSOLE.print(table)
    return all(verdicts)


def _add(table: Table, case: Case, best: dict[str, Best]) -> bool:
    base = best[case.base]
    verdicts = _verdicts(case, best)
    for name in case.contestants:
        turn = best[name]
        table.add_row(
            case.name if name == next(iter(case.contestants)) else "",
            name,
            f"{turn.wall * 1000:.3f}",
            f"{turn.wall / base.wall:.2f}",
            f"{turn.cpu / base.cpu:.2f}" if base.cpu else "",
            "; ".join(text for text, _ in verdicts) if name == "tradekeep" else "",
        )
    table.add_section()
    return all(is_met for _, is_met in verdicts)


def _verdicts(case: Case, best: dict[str, Best]) -> list[tuple[str, bool]]:
    """Return each target of ours in words, and whether it was met."""
    ours = best["tradekeep"].wall
    limits = [] if case.target is None else [(case.base, case.target)]
    limits += [] if case.peer_target is None else [case.peer_target]
    verdicts = []
    for name, limit in limits:
        ratio = ours / best[name].wall
        sign = "≤" if ratio <= limit else ">"
        verdicts.append((f"{ratio:.2f} {sign} {limit:.2f} {name}", ratio <= limit))
    return verdicts


def main() -> int:
    """Measure on a server of its own."""
    with embedded_for_tests() as server, new_database(server.url("postgres")) as url:
        return 0 if show(asyncio.run(run(url))) else 1


if __name__ == "__main__":
    sys.exit(main())
