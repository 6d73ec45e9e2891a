"""`make bench`: measures everything and prints one table."""

import asyncio
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import booking, reading, writing
from benchmarks.ground import prepare
from benchmarks.interleaving import Best, Case, measure
from domain.testing import embedded_for_tests, new_database

_CONSOLE = Console(width=120)


async def run(url: str) -> list[tuple[Case, dict[str, Best]]]:
    """Measure every case on the database at `url`."""
    ground, db = await prepare(url)
    try:
        cases = [
            *booking.replays(),
            *reading.cases(ground),
            *writing.cases(ground),
            *await booking.bookings(ground),
        ]
        results = []
        for case in cases:
            _CONSOLE.print(f"{case.name} …", style="dim")
            results.append((case, await measure(case)))
        return results
    finally:
        await ground.raw.close()
        await ground.engine.dispose()
        await db.__aexit__()


def show(results: list[tuple[Case, dict[str, Best]]]) -> bool:
    """Print the table; return whether every target was met."""
    table = Table(title="Time divided by that of the first contestant (best turns)")
    for name in ("case", "contestant", "wall ms", "wall", "cpu", "target"):
        table.add_column(name, justify="left" if name in {"case", "contestant"} else "right")
    is_met = True
    for case, best in results:
        base = best[case.base]
        for name in case.contestants:
            turn = best[name]
            wall = turn.wall / base.wall
            is_ours = name == "tradekeep" and case.target is not None
            mark = f"{'≤' if wall <= (case.target or 0) else '>'} {case.target}" if is_ours else ""
            is_met &= not is_ours or wall <= (case.target or 0)
            table.add_row(
                case.name if name == next(iter(case.contestants)) else "",
                name,
                f"{turn.wall * 1000:.3f}",
                f"{wall:.2f}",
                f"{turn.cpu / base.cpu:.2f}" if base.cpu else "",
                mark,
            )
        table.add_section()
    _CONSOLE.print(table)
    return is_met


def main() -> int:
    """Measure on a server of its own."""
    with embedded_for_tests() as server, new_database(server.url("postgres")) as url:
        return 0 if show(asyncio.run(run(url))) else 1


if __name__ == "__main__":
    sys.exit(main())
