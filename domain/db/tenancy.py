"""Row-level security and rights for every table, derived from the models and stated once.

An owned table (it has ``user_id``) shows a tenant its own rows only. Staff and trusted jobs see
all of them; the read-only role reads all of them, without the secret columns.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import MetaData, Table

from domain.db.objects import (
    DatabaseObject,
    Grant,
    Policy,
    RowSecurity,
    declare,
    generated_schemas,
    qualified,
    quoted,
    schemas,
)
from domain.db.roles import APP, READONLY, STAFF

# A scalar subquery is evaluated once a statement; '' is what a past SET LOCAL leaves behind.
TENANT: Final = "(SELECT nullif(current_setting('app.user_id', true), '')::uuid)"

Rights = Mapping[str, tuple[str, str]]


def declare_tenancy(metadata: MetaData, rights: Rights, *, tenant_table: str) -> None:
    """Declare row-level security, policies and grants for every table of `metadata`.

    Args:
        metadata: The models' metadata.
        rights: For each ``schema.table``: what tenants and what staff may do, as SQL privileges;
            empty for nothing. Every table must be named.
        tenant_table: The table whose ``id`` is the tenant.

    Raises:
        KeyError: A table has no rights: a new table must say who may do what.
    """
    for schema in sorted({*schemas(metadata)} - generated_schemas(metadata)):
        for role in (APP, STAFF, READONLY):
            declare(metadata, Grant("USAGE", f"SCHEMA {quoted(schema)}", role))
    for name, table in metadata.tables.items():
        declare(metadata, *_row_security(table, tenant_table))
        declare(metadata, *_grants(table, *rights[name]))


def _row_security(table: Table, tenant_table: str) -> Iterator[DatabaseObject]:
    column = "id" if table.fullname == tenant_table else "user_id"
    if column not in table.columns or (column == "id" and table.fullname != tenant_table):
        return
    schema, name = table.schema or "public", table.name
    yield RowSecurity(schema, name)
    owns = f"{column} = {TENANT}"
    yield Policy(schema, name, "tenant", APP, using=owns, check=owns)
    yield Policy(schema, name, "staff", STAFF, using="true", check="true")
    yield Policy(schema, name, "readonly", READONLY, command="SELECT", using="true")


def _grants(table: Table, tenant: str, staff: str) -> Iterator[DatabaseObject]:
    on = f"TABLE {qualified(table.schema or 'public', table.name)}"
    for privileges, role in ((tenant, APP), (staff, STAFF)):
        if privileges:
            yield Grant(privileges, on, role)
    public = [quoted(column.name) for column in table.columns if not column.info.get("secret")]
    if len(public) == len(table.columns):
        yield Grant("SELECT", on, READONLY)
    else:
        yield Grant(f"SELECT ({', '.join(public)})", on, READONLY)
