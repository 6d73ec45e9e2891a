"""The pages say what is true: their code runs, their tables are complete, their links lead on."""

import ast
import inspect
import os
import re
import shlex
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import domain
from domain import Database, errors
from domain.cli.app import app
from domain.database import Repositories
from domain.db.repository import Repository
from domain.demo import files
from domain.ops import dictionary
from domain.settings import Settings
from tests.docs.reading import (
    PAGES,
    ROOT,
    Block,
    Command,
    anchors,
    blocks,
    commands,
    links,
    name_of,
    pages,
    table_rows,
)

EXECUTED = {
    "README.md",
    "areas/agents.md",
    "areas/alerts.md",
    "areas/identity.md",
    "areas/journal.md",
    "areas/market.md",
    "areas/messaging.md",
    "areas/news.md",
    "areas/research.md",
    "areas/trading.md",
    "audit.md",
    "cache.md",
    "getting-started.md",
    "importing.md",
    "ledger.md",
    "live-data.md",
    "migrations.md",
    "operations.md",
    "recipes/everyday.md",
    "recipes/from-nof0.md",
    "recipes/from-tetra.md",
    "recipes/from-ttai.md",
    "storage.md",
    "time-series.md",
    "units-of-work.md",
}
SKETCHED = {"admin.md"}  # shows a view of a model that the reader would add: compiled only
WITHOUT_PYTHON = {
    "changelog.md",
    "data-dictionary.md",
    "decisions.md",
    "index.md",
    "redis.md",
    "security.md",
    "seed-map.md",
}
UNTYPED = {"data_dir"}  # its default depends on the installation


@pytest.fixture
async def db(migrated_database: str, redis_url: str, cache_prefix: str) -> AsyncIterator[Database]:
    """A database whose answers are cached, as in production."""
    settings = Settings.load(redis_url=redis_url, cache_prefix=cache_prefix, cache_budget=2)
    async with Database(migrated_database, settings=settings) as database:
        yield database


def page(name: str) -> Path:
    return ROOT / name if name == "README.md" else PAGES / name


def everything() -> str:
    return "\n".join(item.read_text() for item in pages())


@pytest.mark.parametrize("item", pages(), ids=name_of)
def test_a_page_with_python_is_executed_and_one_without_says_so(item: Path) -> None:
    has_python = any(blocks(item, "python"))
    assert name_of(item) in (EXECUTED | SKETCHED if has_python else WITHOUT_PYTHON)


@pytest.mark.parametrize("name", sorted(EXECUTED))
async def test_the_python_of_a_page_runs(
    name: str, db: Database, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEKEEP_DATABASE_URL", migrated_database)
    monkeypatch.chdir(ROOT)
    namespace: dict[str, Any] = {"db": db, "__name__": "page"}
    for block in blocks(page(name), "python"):
        result = eval(compiled(block, page(name)), namespace)
        if inspect.iscoroutine(result):
            await result


@pytest.mark.parametrize("name", sorted(SKETCHED))
def test_the_python_of_a_sketch_is_python(name: str) -> None:
    assert [compiled(block, page(name)) for block in blocks(page(name), "python")]


def compiled(block: Block, item: Path) -> CodeType:
    # Leading newlines make a traceback name the line of the page.
    source = "\n" * (block.line - 1) + block.text
    return compile(source, str(item), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_commands_of_getting_started_print_what_it_shows(
    migrated_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "history.csv").write_bytes(files.content(files.TASTYTRADE))
    monkeypatch.chdir(tmp_path)
    environment = {
        **os.environ,
        "TRADEKEEP_DATABASE_URL": migrated_database,
        "TRADEKEEP_PASSWORD": "correct horse battery staple",
        "COLUMNS": "120",
    }
    run = [item for item in commands(page("getting-started.md")) if is_quick(item)]
    assert len(run) > 5
    for command in run:
        done = CliRunner().invoke(app, shlex.split(command.line)[1:], env=environment)
        assert done.exit_code == 0, f"{command.line}\n{done.output}"
        if command.output:
            assert trimmed(done.output) == trimmed(command.output), command.line


def is_quick(command: Command) -> bool:
    words = command.line.split()
    return words[0] == "tradekeep" and words[1] != "run"


def trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def leaves(command: Any, path: str = "tradekeep") -> dict[str, Any]:
    if not hasattr(command, "commands"):
        return {path: command}
    found: dict[str, Any] = {}
    for name, child in command.commands.items():
        found |= leaves(child, f"{path} {name}")
    return found


COMMANDS = leaves(typer.main.get_command(app))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_all_its_options(name: str) -> None:
    rows = [cells for cells in table_rows(page("operations.md")) if first_code(cells[0]) == name]
    assert len(rows) == 1, f"{name} has {len(rows)} rows"
    for parameter in COMMANDS[name].params:
        longest = max(parameter.opts, key=len)
        shown = longest if longest.startswith("--") else longest.upper()
        assert shown in rows[0][0], f"{name} does not show {shown}"


def first_code(cell: str) -> str:
    """Return the words of a documented command before its arguments and options."""
    words = cell.strip("`").split()
    return " ".join(word for word in words if re.fullmatch(r"[a-z]+(-[a-z]+)*", word))


def test_operations_documents_no_command_that_does_not_exist() -> None:
    documented = {
        first_code(cells[0])
        for cells in table_rows(page("operations.md"))
        if cells[0].startswith("`tradekeep ")
    }
    assert documented == set(COMMANDS)


@pytest.mark.parametrize("item", pages(), ids=name_of)
def test_every_shown_command_exists_with_its_options(item: Path) -> None:
    for command in commands(item):
        words = shlex.split(command.line, comments=True)
        if "tradekeep" not in words or "--help" in words:
            continue
        words = words[words.index("tradekeep") :]
        name = max((name for name in COMMANDS if is_prefix(name, words)), key=len, default="")
        assert name, f"{command.line} is no command"
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, command.line


def is_prefix(name: str, words: list[str]) -> bool:
    return name.split() == words[: len(name.split())]


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {
        cells[0].strip("`").removeprefix("TRADEKEEP_").lower(): cells[1].strip("`")
        for cells in table_rows(page("operations.md"))
        if cells[0].startswith("`TRADEKEEP_")
    }
    assert set(documented) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if name not in UNTYPED:
            assert documented[name] == written(field.default), name


def written(value: object) -> str:
    """Return a default as a person would write it into the environment."""
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else f"{value}"


@pytest.mark.parametrize("item", pages(), ids=name_of)
def test_every_link_leads_somewhere(item: Path) -> None:
    for target in links(item):
        path, _, anchor = target.partition("#")
        found = (item.parent / path).resolve() if path else item
        assert found.exists(), f"{target} does not exist"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{target} has no such heading"


def test_the_index_leads_to_every_page() -> None:
    index = page("index.md")
    linked = {(PAGES / target.partition("#")[0]).resolve() for target in links(index)}
    others = {item.resolve() for item in PAGES.rglob("*.md")} - {index.resolve()}
    assert others - linked == set()


@pytest.mark.parametrize("name", domain.__all__)
def test_every_public_name_is_mentioned(name: str) -> None:
    assert name in everything()


def test_every_method_of_a_repository_is_documented() -> None:
    text = page("units-of-work.md").read_text()
    methods = {name for name in vars(Repository) if not name.startswith("_")}
    methods -= {name for name in methods if not callable(getattr(Repository, name))}
    assert {name for name in methods if f"`{name}(" not in text} == set()


def test_every_repository_and_its_own_questions_are_documented() -> None:
    text = everything()
    missing = set()
    for attribute, declared in vars(Repositories).items():
        if not hasattr(declared, "kind"):
            continue
        own = {name for name in vars(declared.kind) if name.islower() and name[0] != "_"}
        own -= set(vars(Repository)) | {"model"}
        missing |= {name for name in (attribute, *own) if name not in text}
    assert missing == set()


def test_every_error_is_documented() -> None:
    text = page("units-of-work.md").read_text()
    kinds = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TradekeepError)
    ]
    assert [name for name in kinds if f"`{name}`" not in text] == []


def test_the_data_dictionary_is_what_the_models_say() -> None:
    stored = page("data-dictionary.md").read_text()
    assert stored == dictionary.render(), (
        "python -m domain.ops.dictionary > docs/pages/data-dictionary.md"
    )
