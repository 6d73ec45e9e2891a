"""The map of the five designs is complete, and every home on it exists."""

import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest
from sqlalchemy import text

from domain import Database
from tests.docs.designs import DESIGNS
from tests.docs.reading import PAGES

PAGE = PAGES / "seed-map.md"
ROW = re.compile(r"^\| `(?P<column>[^`]+)` \| (?P<home>[^|]+) \| (?P<remark>[^|]*) \|$")
TABLES = [(design, table) for design, tables in DESIGNS.items() for table in tables]


def mapped(page: Path = PAGE) -> dict[tuple[str, str], dict[str, tuple[str, str]]]:
    """Return (home, remark) by column, by design and table."""
    found: defaultdict[tuple[str, str], dict[str, tuple[str, str]]] = defaultdict(dict)
    design = table = ""
    for line in page.read_text().splitlines():
        if line.startswith("## "):
            design = line.removeprefix("## ")
        elif line.startswith("### "):
            table = line.removeprefix("### ")
        elif row := ROW.match(line):
            assert row["column"] not in found[design, table], line
            found[design, table][row["column"]] = (row["home"].strip("` "), row["remark"].strip())
    return found


@pytest.mark.parametrize(("design", "table"), TABLES)
def test_every_column_of_a_design_has_a_home(design: str, table: str) -> None:
    assert list(mapped()[design, table]) == DESIGNS[design][table].split()


def test_the_map_names_no_table_that_no_design_has() -> None:
    assert set(mapped()) == set(TABLES)


def test_what_is_not_kept_says_why() -> None:
    dropped = [
        (key, column)
        for key, columns in mapped().items()
        for column, (home, remark) in columns.items()
        if home == "not kept" and len(remark) < 20
    ]
    assert dropped == []


@pytest.mark.parametrize(("design", "table"), TABLES)
async def test_every_home_exists(db: Database, design: str, table: str) -> None:
    homes = {home for home, _ in mapped()[design, table].values() if home != "not kept"}
    functions = {home for home in homes if ":" in home}
    stored = await columns_of(db)
    assert homes - functions - stored == set()
    for home in functions:
        assert callable(resolved(home)), home


async def columns_of(db: Database) -> set[str]:
    """Return ``schema.table.column`` of every table and view of the database."""
    async with db.read(system="test") as unit:
        found = await unit.session.scalars(
            text(
                "SELECT n.nspname || '.' || c.relname || '.' || a.attname"
                "  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
                "  JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped"
            )
        )
        return set(found)


def resolved(home: str) -> object:
    module, _, path = home.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
        # A property stands for what it returns.
        found = found.fget if isinstance(found, property) else found
    return found
