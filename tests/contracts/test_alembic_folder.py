"""The top-level folder ``alembic`` must never stand in the way of the package ``alembic``."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[2]
VERSIONS = sorted((ROOT / "alembic" / "versions").glob("*.py"))


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_no_init_file_turns_the_folder_into_a_package() -> None:
    assert list((ROOT / "alembic").rglob("__init__.py")) == []


def test_the_library_is_imported_from_the_root_of_the_checkout() -> None:
    found = python("-c", "import alembic, alembic.command; print(alembic.__file__)").strip()
    assert not Path(found).is_relative_to(ROOT / "alembic")
    assert "usage: alembic" in python("-m", "alembic", "--help")


def test_no_test_is_collected_inside_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert settings["pytest"]["testpaths"] == ["tests"]
    assert settings["ruff"]["lint"]["isort"]["known-third-party"] == ["alembic"]
    assert [file for file in VERSIONS if file.name.startswith("test_")] == []


def test_the_migrations_form_one_line() -> None:
    scripts = ScriptDirectory(str(ROOT / "alembic"))
    assert len(scripts.get_heads()) == 1
    assert len(list(scripts.walk_revisions())) == len(VERSIONS)
    assert all(isinstance(script.down_revision, str | None) for script in scripts.walk_revisions())


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_a_migration_is_named_by_its_time_and_goes_both_ways(file: Path) -> None:
    assert re.fullmatch(r"\d{8}_\d{6}_[a-z0-9_]+", file.stem)
    (downgrade,) = (
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade"
    )
    says_why_not = ast.get_docstring(downgrade) not in {None, "Downgrade."}
    assert "op." in ast.unparse(downgrade) or says_why_not
