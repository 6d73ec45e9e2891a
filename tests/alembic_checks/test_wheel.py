"""The migrations inside the wheel: they run from anywhere, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from domain.db import migrations
from domain.errors import ConfigurationError
from domain.schema import metadata
from tests.alembic_checks.projects import ROOT, catalog_lines

_UPGRADE = """
import asyncio, sys
import domain
from domain.db import migrations
asyncio.run(migrations.upgrade(sys.argv[1]))
print(migrations.script_location(), asyncio.run(migrations.check(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: install the test group")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_carries_every_migration(unpacked_wheel: Path) -> None:
    carried = {file.name for file in (unpacked_wheel / "domain/_alembic/versions").glob("*.py")}
    assert carried == {file.name for file in (ROOT / "alembic" / "versions").glob("*.py")}
    assert (unpacked_wheel / "domain/_alembic/env.py").is_file()
    assert (unpacked_wheel / "domain/db/catalog.sql").is_file()
    assert not (unpacked_wheel / "alembic").exists()


async def test_the_wheel_upgrades_a_database_from_any_folder(
    unpacked_wheel: Path, empty_database: str, migrated_database: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UPGRADE, empty_database],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked_wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{unpacked_wheel / 'domain' / '_alembic'} []"
    schemas = tuple({table.schema or "" for table in metadata.tables.values()})
    assert await catalog_lines(empty_database, schemas) == await catalog_lines(
        migrated_database, schemas
    )


def test_an_installation_without_migrations_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_CHECKOUT", tmp_path)
    with pytest.raises(ConfigurationError, match="carries no migrations"):
        migrations.script_location()
