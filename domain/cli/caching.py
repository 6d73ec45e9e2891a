"""`tradekeep cache stats | inspect | invalidate`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any, Final

import typer

from domain.cache.asking import answer_named, parameters_in
from domain.cache.declaring import DECLARED
from domain.cache.inspecting import Entry, entries
from domain.cache.pending import lag
from domain.cache.statistics import Outcome
from domain.cli.output import Format, out, print_json, print_mapping, print_rows
from domain.cli.reports import FormatOption
from domain.cli.running import command as asynchronous
from domain.cli.running import prepared_database
from domain.clock import now
from domain.database import Database
from domain.errors import ConfigurationError, InvalidData, NotFound

cache_app = typer.Typer(help="What is cached, how well, and taking it out.", no_args_is_help=True)

_STATS: Final = ("answer", *(outcome.value for outcome in Outcome), "hit_ratio")
_ENTRY: Final = ("key", "age", "seconds_to_live", "is_valid", "size")

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="An answer, then name=value for its parameters; ~ is nothing."),
]


@cache_app.command("stats")
@asynchronous
async def stats_command(style: FormatOption = Format.TABLE) -> None:
    """Show what became of reads, by answer, summed over all processes, and what waits."""
    async with _cached_database() as db:
        rows = [_stats(name, counts) for name, counts in sorted((await db.cache.totals()).items())]
        async with db.read(system="cache stats") as unit:
            waiting = await lag(unit)
        state = {"breaker": db.cache.breaker.value, **_waiting(waiting)}
    if style is Format.JSON:
        print_json({"answers": rows, **state})
        return
    print_rows(rows, _STATS, style)
    if style is Format.TABLE:
        print_mapping(state, style)


@cache_app.command("inspect")
@asynchronous
async def inspect_command(
    names: NamesArgument = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many keys.")] = 100,
    style: FormatOption = Format.TABLE,
) -> None:
    """List kept answers: all, those of an answer or below a prefix; with parameters show one."""
    words = names or []
    async with _cached_database() as db:
        if len(words) > 1:
            await _show_one(db, words)
            return
        found = await entries(db.cache, _prefix(words[0]) if words else "", limit)
    print_rows([_listed(entry) for entry in found], _ENTRY, style)


@cache_app.command("invalidate")
@asynchronous
async def invalidate_command(
    names: NamesArgument = None,
    tag: Annotated[
        str | None, typer.Option(help="Take out what was loaded with this tag: symbol:AAPL.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Take out everything.")] = False,
) -> None:
    """Take out answers: of these parameters, of an answer, of a tag, or all."""
    words = names or []
    if (bool(words), tag is not None, everything).count(True) != 1:
        raise InvalidData("invalidate", words, "be given an answer, --tag WORD or --all")
    read = answer_named(words[0]) if words else None
    given = parameters_in(read, words[1:]) if read is not None else {}
    async with _cached_database() as db:
        if read is not None:
            await db.cache.expire(read, given)
        elif tag is not None:
            await db.cache.expire_tag(tag)
        else:
            await db.cache.expire_all()
    out.print("taken out", markup=False)


@asynccontextmanager
async def _cached_database() -> AsyncIterator[Database]:
    async with prepared_database() as db:
        if not db.cache.is_shared:
            raise ConfigurationError(
                "no cache is shared with other processes: set TRADEKEEP_REDIS_URL to a server"
            )
        yield db


async def _show_one(db: Database, words: list[str]) -> None:
    read = answer_named(words[0])
    given = parameters_in(read, words[1:])
    if missing := set(read.parameters) - given.keys():
        raise InvalidData(read.name, sorted(given), f"have {', '.join(sorted(missing))} too")
    key = read.key(db.cache.keyspace, given)
    found = await entries(db.cache, key.removeprefix(f"{db.cache.keyspace.prefix}:"), 1)
    if not found or found[0].key != key:
        raise NotFound(f"{key} is not cached")
    print_json(_listed(found[0]) | {"data": found[0].data})


def _prefix(word: str) -> str:
    return f"{DECLARED[word].tier}:{word}:" if word in DECLARED else word


def _listed(entry: Entry) -> dict[str, Any]:
    left = entry.seconds_to_live
    return {
        "key": entry.key,
        "age": round(Decimal(entry.age), 1),
        "seconds_to_live": None if left is None else round(Decimal(left), 1),
        "is_valid": entry.is_valid,
        "size": entry.size,
    }


def _stats(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    numbers = {outcome.value: counts.get(outcome, 0) for outcome in Outcome}
    asked = sum(numbers[item] for item in (Outcome.HIT, Outcome.MISS, Outcome.JOIN, Outcome.BYPASS))
    ratio = round(Decimal(numbers[Outcome.HIT]) / asked, 3) if asked else None
    return {"answer": name, **numbers, "hit_ratio": ratio}


def _waiting(found: Mapping[str, Any]) -> dict[str, Any]:
    oldest = found["oldest"]
    seconds = None if oldest is None else round((now() - oldest).total_seconds())
    return {"pending_invalidations": found["pending"], "pending_seconds": seconds}
