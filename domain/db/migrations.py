"""Runs the migrations from Python: for the command line, the tests and an installed wheel.

The migrations themselves live in ``alembic/`` (inside the wheel: ``domain/_alembic``); how they
are written from the models is `domain.db.autogenerate`.
"""

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection


def script_location() -> Path:
    """Return the folder of env.py and the versions: of the wheel, else of the checkout.

    Raises:
        ConfigurationError: The installation carries no migrations.
    """
    raise NotImplementedError


async def upgrade(target: AsyncConnection | str, revision: str = "head") -> None:
    """Upgrade a database; creates roles, schemas and the version table where missing.

    Args:
        target: A connection without an open transaction, or a URL.
        revision: A revision, ``head`` or ``+1``.
    """
    raise NotImplementedError


async def downgrade(target: AsyncConnection | str, revision: str) -> None:
    """Downgrade a database to `revision`; ``base`` leaves nothing of ours but the roles."""
    raise NotImplementedError


async def current(target: AsyncConnection | str) -> str | None:
    """Return the revision a database is at, None before the first upgrade."""
    raise NotImplementedError


def head() -> str | None:
    """Return the newest revision that this installation carries."""
    raise NotImplementedError


async def check(target: AsyncConnection | str) -> list[str]:
    """Return how a database differs from the models, one sentence each; empty when equal."""
    raise NotImplementedError


async def revision(
    target: AsyncConnection | str, message: str, *, autogenerate: bool = True
) -> Path | None:
    """Write a migration file; None when there is nothing to migrate."""
    raise NotImplementedError


def offline_sql(revision: str = "head") -> str:
    """Return the SQL of the upgrade from nothing to `revision`, for people who run it by hand."""
    raise NotImplementedError
