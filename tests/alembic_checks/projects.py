"""A migration project of its own for toy models: Tradekeep's env.py, other metadata."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.db import migrations
from domain.db.catalog import snapshot
from domain.db.orm import NAMING_CONVENTION

ROOT = Path(__file__).parents[2]
SCHEMAS = ("desk", "vault")


def new_metadata() -> MetaData:
    return MetaData(naming_convention=NAMING_CONVENTION)


async def catalog_lines(url: str, schemas: tuple[str, ...] = SCHEMAS) -> list[str]:
    def read(connection: Connection) -> list[str]:
        return snapshot(connection, schemas, extensions=["pg_trgm"]).lines()

    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(read)
    finally:
        await engine.dispose()


async def execute(url: str, *statements: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()


async def server_version(url: str) -> int:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return int(await connection.scalar(text("SHOW server_version_num")) or 0)
    finally:
        await engine.dispose()


@dataclass
class Project:
    """Runs Tradekeep's migrations module on a folder and a metadata of the test's own."""

    folder: Path
    url: str
    monkeypatch: pytest.MonkeyPatch

    def declare(self, metadata: MetaData) -> None:
        self.monkeypatch.setattr("domain.schema.metadata", metadata)

    async def migrate(self, message: str) -> str:
        """Write what `declare` asks for, run it, and return the source of what was written."""
        files = await migrations.revision(self.url, message)
        await migrations.upgrade(self.url)
        return "\n".join(file.read_text() for file in files)

    async def lines(self) -> list[str]:
        return await catalog_lines(self.url)


def make_project(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    scripts = folder / "alembic"
    (scripts / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        shutil.copy(ROOT / "alembic" / name, scripts / name)
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    monkeypatch.setattr(migrations, "script_location", lambda: scripts)
    return Project(folder, url, monkeypatch)


async def evolve(project: Project, before: MetaData, after: MetaData) -> str:
    """Go from `before` to `after` and back, and prove each state; return the second migration."""
    project.declare(before)
    await project.migrate("before")
    first = await migrations.current(project.url)
    assert await migrations.check(project.url) == []
    old = await project.lines()

    project.declare(after)
    assert await migrations.check(project.url) != []
    source = await project.migrate("after")
    assert await migrations.check(project.url) == []
    new = await project.lines()

    await migrations.downgrade(project.url, first or "base")
    assert await project.lines() == old
    await migrations.upgrade(project.url)
    assert await project.lines() == new
    await migrations.downgrade(project.url, "base")
    assert await project.lines() == []
    return source
