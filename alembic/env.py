"""Where Alembic enters: on the connection it was given, else on the database of the settings."""

import asyncio
import logging

from alembic import context
from sqlalchemy import Connection

from domain.db.autogenerate import options
from domain.db.migrations import (
    SHOW_VERSION,
    configured_connection,
    kept_inside,
    preamble,
    prepared,
)
from domain.schema import metadata

config = context.config


def run_online(connection: Connection) -> None:
    """Run the command on a connection, alone where it may change something."""
    context.configure(connection=connection, **options(metadata))
    if context.get_context().opts.get("dont_mutate"):
        context.run_migrations()
        return
    inside = kept_inside(context.get_context())
    with inside, prepared(connection), context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    """Run the command on the database of the settings."""
    async with configured_connection() as connection:
        await connection.run_sync(run_online)


def run_offline() -> None:
    """Write the SQL instead of running it (``--sql``)."""
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        **options(metadata),
    )
    for statement in preamble():
        context.get_context().impl.static_output(f"{statement};\n")
    with context.begin_transaction():
        context.run_migrations()
    context.get_context().impl.static_output(f"{SHOW_VERSION};\n")


if config.cmd_opts is not None:
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)

if context.is_offline_mode():
    run_offline()
elif (given := config.attributes.get("connection")) is not None:
    run_online(given)
else:
    asyncio.run(connect_and_run())
