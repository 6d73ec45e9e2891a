"""Row-level security and rights for every table, derived from the models and stated once.

An owned table (it has ``user_id``) shows a tenant its own rows only. Staff and trusted jobs see
all of them; the read-only role reads all of them, without the secret columns. Staff limited to some
tenants have a role of their own: they may with those tenants' rows what staff may, with what is
nobody's no more than a tenant, and of credentials they see their own alone.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
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
from domain.db.roles import ACTING, APP, DESK, READONLY, STAFF

# A scalar subquery is evaluated once a statement; '' is what a past SET LOCAL leaves behind.
TENANT: Final = "(SELECT nullif(current_setting('app.user_id', true), '')::uuid)"

OWN: Final = "(SELECT nullif(current_setting('app.own_id', true), '')::uuid)"
"""The limited member of staff."""

# The cast makes it an array that is computed once, not a subquery that is joined.
TENANTS: Final = "((SELECT nullif(current_setting('app.tenants', true), '')::uuid[])::uuid[])"
"""The tenants that limited staff see, themselves included."""

Rights = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class DeskRules:
    """What limited staff may that does not follow from what tenants and staff may.

    Args:
        credentials: Owned tables of which they see their own rows alone.
        own_account: What they may with the table of tenants, writing their own row alone.
        withheld: Tables that are not for them although tenants read them.
    """

    credentials: Collection[str]
    own_account: str
    withheld: Collection[str] = ()


def desk_rights(
    metadata: MetaData, rights: Rights, rules: DeskRules, *, tenant_table: str
) -> dict[str, str]:
    """Return what limited staff may with each ``schema.table``, as SQL privileges."""
    found = {}
    for name, table in metadata.tables.items():
        tenant, staff = rights[name]
        is_shared = "user_id" in table.columns and "SELECT" in tenant
        found[name] = staff if is_shared or name in rules.credentials else tenant
    return found | {tenant_table: rules.own_account} | dict.fromkeys(rules.withheld, "")


def declare_tenancy(
    metadata: MetaData, rights: Rights, rules: DeskRules, *, tenant_table: str
) -> None:
    """Declare row-level security, policies and grants for every table of `metadata`.

    Args:
        metadata: The models' metadata.
        rights: For each ``schema.table``: what tenants and what staff may do, as SQL privileges;
            empty for nothing. Every table must be named.
        rules: What limited staff may besides.
        tenant_table: The table whose ``id`` is the tenant.

    Raises:
        KeyError: A table has no rights: a new table must say who may do what.
    """
    for schema in sorted({*schemas(metadata)} - generated_schemas(metadata)):
        for role in (*ACTING, READONLY):
            declare(metadata, Grant("USAGE", f"SCHEMA {quoted(schema)}", role))
    desk = desk_rights(metadata, rights, rules, tenant_table=tenant_table)
    for name, table in metadata.tables.items():
        declare(metadata, *_row_security(table, tenant_table))
        declare(metadata, *_desk_policies(table, rules, tenant_table))
        declare(
            metadata, *_grants(table, dict(zip(ACTING, (*rights[name], desk[name]), strict=True)))
        )


def _row_security(table: Table, tenant_table: str) -> Iterator[DatabaseObject]:
    column = _owner(table, tenant_table)
    if column is None:
        return
    schema, name = table.schema or "public", table.name
    yield RowSecurity(schema, name)
    owns = f"{column} = {TENANT}"
    yield Policy(schema, name, "tenant", APP, using=owns, check=owns)
    yield Policy(schema, name, "staff", STAFF, using="true", check="true")
    yield Policy(schema, name, "readonly", READONLY, command="SELECT", using="true")


def _owner(table: Table, tenant_table: str) -> str | None:
    """Return the column that names the tenant, None where there is none."""
    if table.fullname == tenant_table:
        return "id"
    return "user_id" if "user_id" in table.columns else None


def _desk_policies(table: Table, rules: DeskRules, tenant_table: str) -> Iterator[DatabaseObject]:
    column = _owner(table, tenant_table)
    if column is None:
        return
    schema, name = table.schema or "public", table.name
    own, reached = f"{column} = {OWN}", f"{column} = ANY ({TENANTS})"
    if table.fullname == tenant_table:
        yield Policy(schema, name, "desk", DESK, command="SELECT", using=reached)
        yield Policy(schema, name, "desk_own", DESK, command="UPDATE", using=own, check=own)
        return
    rows = own if table.fullname in rules.credentials else reached
    yield Policy(schema, name, "desk", DESK, using=rows, check=rows)


def _grants(table: Table, rights: Mapping[str, str]) -> Iterator[DatabaseObject]:
    on = f"TABLE {qualified(table.schema or 'public', table.name)}"
    for role, privileges in rights.items():
        if privileges:
            yield Grant(privileges, on, role)
    public = [quoted(column.name) for column in table.columns if not column.info.get("secret")]
    if len(public) == len(table.columns):
        yield Grant("SELECT", on, READONLY)
    else:
        yield Grant(f"SELECT ({', '.join(public)})", on, READONLY)
