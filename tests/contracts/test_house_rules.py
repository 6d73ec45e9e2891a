"""Rules about the code itself: what a reviewer would otherwise have to remember."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import DateTime, Double, Float, Numeric

from domain.db.types import ExactNumeric, UtcDateTime
from domain.schema import metadata

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for room in ("domain", "admin", "benchmarks") for path in (ROOT / room).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
COLUMNS = [
    pytest.param(column, id=f"{table.fullname}.{column.name}")
    for table in metadata.tables.values()
    for column in table.columns
]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    documentation = (first.end_lineno or 0) - first.lineno + 1 if is_documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - documentation


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_says_what_it_means(column: object) -> None:
    assert column.comment  # type: ignore[attr-defined]  # a Column


@pytest.mark.parametrize("column", COLUMNS)
def test_no_column_holds_a_float_a_rounded_number_or_a_naive_time(column: object) -> None:
    kind = column.type  # type: ignore[attr-defined]  # a Column
    assert not isinstance(kind, Float | Double)
    if isinstance(kind, Numeric):
        assert (kind.precision, kind.scale) == (None, None)
    if isinstance(kind, DateTime):
        assert kind.timezone
    is_generated = column.computed is not None  # type: ignore[attr-defined]  # a Column
    assert (
        is_generated
        or isinstance(kind, ExactNumeric | UtcDateTime)
        or not isinstance(kind, Numeric | DateTime)
    )


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: table.fullname)
def test_every_table_has_a_comment_and_every_constraint_a_short_name(table: object) -> None:
    assert table.comment  # type: ignore[attr-defined]  # a Table
    for constraint in table.constraints:  # type: ignore[attr-defined]  # a Table
        assert constraint.name is not None


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: table.fullname)
def test_children_of_a_tenant_point_to_parents_of_the_same_tenant(table: object) -> None:
    owned = {item.fullname for item in metadata.tables.values() if "user_id" in item.columns}
    for constraint in table.foreign_key_constraints:  # type: ignore[attr-defined]  # a Table
        if constraint.referred_table.fullname in owned:
            assert constraint.column_keys[0] == "user_id"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small_enough_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600
    assert {node.name: length(node) for node in functions(path) if length(node) > 60} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_lives_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_file_is_named_for_a_layer() -> None:
    magnets = {"utils", "helpers", "common", "manager", "service", "misc"}
    assert [path for path in SOURCES + TESTS if path.stem in magnets] == []


def test_functions_are_short_at_the_median() -> None:
    lengths = sorted(length(node) for path in SOURCES for node in functions(path))
    assert lengths[len(lengths) // 2] <= 10


def test_suppressions_are_rare_and_each_says_why() -> None:
    lines = [line for path in SOURCES for line in path.read_text().splitlines()]
    marked = [line for line in lines if re.search(r"# (noqa|type: ignore)", line)]
    unexplained = [
        line.strip()
        for line in marked
        if not re.search(r"# (noqa: [A-Z0-9, ]+ - \S|type: ignore\[[a-z, -]+\]\s+# \S)", line)
    ]
    assert unexplained == []
    assert len(marked) <= 3 * len(lines) / 1_000


def test_no_test_was_left_switched_off() -> None:
    for path in TESTS:
        assert "@pytest.mark." + "skip\n" not in path.read_text()
        assert "xf" + "ail" not in path.read_text()


def test_no_path_of_a_machine_or_default_password_is_in_the_project() -> None:
    words = ("/work" + "/", "/root" + "/", "/home" + "/")
    for path in [*SOURCES, *TESTS, *ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md")]:
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".yml"}:
            # The folder inside the database's container is of no machine.
            content = path.read_text().replace("/home" + "/postgres/pgdata", "")
            assert [word for word in words if word in content] == [], path
