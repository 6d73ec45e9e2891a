"""The cluster roles that migrations and units of work run as.

PostgreSQL's own rights are the second line behind the repositories' scope: the application logs
in as one user and becomes one of these for a transaction. Which rights each has is declared
beside the tables, with `domain.db.objects.Grant`.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, RowMapping, text
from sqlalchemy.exc import DBAPIError

from domain.db.objects import quoted
from domain.errors import AccessDenied, ConfigurationError

OWNER: Final = "tradekeep_owner"
"""Owns every object; migrations become it."""
APP: Final = "tradekeep_app"
"""A tenant's unit of work: row-level security applies."""
STAFF: Final = "tradekeep_staff"
"""The admin and trusted jobs: policies show them all tenants."""
DESK: Final = "tradekeep_desk"
"""Staff limited to some tenants. No member of `STAFF`: its policies would show it everything."""
READONLY: Final = "tradekeep_readonly"
"""Reports: reads what was granted, never writes."""

ROLES: Final = (OWNER, APP, STAFF, DESK, READONLY)
ACTING: Final = (APP, STAFF, DESK)
"""Roles that units of work run as."""
EXTENSIONS: Final = ("vector",)
"""What only a superuser may install; used where the server offers it, done without elsewhere."""

_DENIED: Final = "42501"
_ADVISORY_KEY: Final = 0x7472_6164_726F_6C65  # "tradrole", one number for everybody
_MEMBERSHIP_HAS_OPTIONS_SINCE: Final = 160_000
_CREATE: Final = "CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS"
_INSTALL: Final = "CREATE EXTENSION IF NOT EXISTS {extension} WITH SCHEMA public"
_INSTALL_WHERE_OFFERED: Final = (
    "DO $do$ BEGIN IF EXISTS (SELECT FROM pg_available_extensions WHERE name = '{extension}') THEN "
    + _INSTALL
    + "; END IF; END $do$"
)
_PUBLIC_SCHEMA: Final = f"GRANT USAGE, CREATE ON SCHEMA public TO {OWNER}"
_CLOSE_FUNCTIONS: Final = (
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
)

_ROLES: Final = text(
    """
    SELECT name, rolname IS NOT NULL AS is_made,
           coalesce(rolsuper OR rolbypassrls OR rolcanlogin, false) AS is_unbound,
           (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)
           OR coalesce(pg_has_role(session_user, oid, CASE
             WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER'
           END), false) AS is_ours
    FROM unnest(CAST(:names AS text[])) AS name LEFT JOIN pg_roles ON rolname = name
    """
)
_DATABASE: Final = text(
    """
    SELECT current_database() AS name, session_user AS login,
           current_setting('server_version_num')::int AS version,
           coalesce(has_database_privilege(owner, current_database(), 'CREATE'), false) AS creates,
           coalesce(has_schema_privilege(owner, 'public', 'CREATE'), false) AS creates_in_public,
           EXISTS (SELECT FROM pg_default_acl WHERE defaclrole = owner
                   AND defaclobjtype = 'f' AND defaclnamespace = 0) AS closes_functions,
           ARRAY(SELECT name::text FROM pg_available_extensions
                 WHERE name = ANY (CAST(:extensions AS text[]))
                   AND installed_version IS NULL) AS missing
    FROM (SELECT to_regrole(:owner)::oid AS owner) AS role
    """
)


def ensure_roles(connection: Connection) -> None:
    """Create the roles and let the connecting login become each of them.

    Also lets `OWNER` create schemas in this database, closes the functions that it will make to
    everybody who was not granted them, and installs those of `EXTENSIONS` that the server offers.
    Changes nothing where all is in place; processes may call it at the same time, for one
    database or several. Runs in the connection's transaction and does not commit.

    Args:
        connection: A connection whose login is a superuser, or has CREATEROLE and owns the
            database.

    Raises:
        AccessDenied: The login lacks a right; the message holds the SQL for an administrator.
        ConfigurationError: A role of ours could bypass row-level security or log in.
    """
    if not missing_setup(connection):
        return
    # Two grants on one database at the same time make one of them fail.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
    missing = missing_setup(connection)
    try:
        with connection.begin_nested():
            for statement in missing:
                connection.exec_driver_sql(_race_safe(statement))
    except (DBAPIError, AccessDenied) as error:
        if getattr(getattr(error, "orig", error), "sqlstate", None) != _DENIED:
            raise
        script = "".join(f"  {statement};\n" for statement in missing)
        raise AccessDenied(
            f"this login may not set up Tradekeep's roles; an administrator must run:\n{script}",
            sqlstate=_DENIED,
        ) from error


def missing_setup(connection: Connection) -> list[str]:
    """Return the SQL that is still to be run in this database, empty when all is in place.

    Raises:
        ConfigurationError: A role of ours could bypass row-level security or log in.
    """
    roles = connection.execute(_ROLES, {"names": list(ROLES)}).mappings().all()
    for role in roles:
        if role["is_unbound"]:
            raise ConfigurationError(
                f"the role {role['name']} could bypass row-level security: "
                f"ALTER ROLE {role['name']} NOLOGIN NOSUPERUSER NOBYPASSRLS"
            )
    parameters = {"owner": OWNER, "extensions": list(EXTENSIONS)}
    database = connection.execute(_DATABASE, parameters).mappings().one()
    return [*_role_statements(roles, database), *_database_statements(database)]


def setup_script() -> list[str]:
    """Return statements that do what `ensure_roles` does, for a script; may be run again."""
    database = f"EXECUTE format('GRANT CREATE ON DATABASE %I TO {OWNER}', current_database())"
    return [
        *(_race_safe(_CREATE.format(role=role)) for role in ROLES),
        *(f"GRANT {role} TO CURRENT_USER" for role in ROLES),
        _race_safe(database),
        _PUBLIC_SCHEMA,
        _race_safe(_CLOSE_FUNCTIONS),
        *(_INSTALL_WHERE_OFFERED.format(extension=name) for name in EXTENSIONS),
    ]


def _role_statements(roles: Sequence[RowMapping], database: RowMapping) -> Iterator[str]:
    options = ""
    if database["version"] >= _MEMBERSHIP_HAS_OPTIONS_SINCE:
        # It may become the role, but does not carry the role's rights while it has not.
        options = " WITH SET TRUE, INHERIT FALSE"
    for role in roles:
        if not role["is_made"]:
            yield _CREATE.format(role=role["name"])
    for role in roles:
        if not role["is_ours"]:
            yield f"GRANT {role['name']} TO {quoted(database['login'])}{options}"


def _database_statements(database: RowMapping) -> Iterator[str]:
    if not database["creates"]:
        yield f"GRANT CREATE ON DATABASE {quoted(database['name'])} TO {OWNER}"
    if not database["creates_in_public"]:
        yield _PUBLIC_SCHEMA
    if not database["closes_functions"]:
        yield _CLOSE_FUNCTIONS
    for name in database["missing"]:
        yield _INSTALL.format(extension=name)


def _race_safe(statement: str) -> str:
    """Return `statement` as a block that accepts that another process did it just now."""
    if statement == _CLOSE_FUNCTIONS:
        # Only the role itself may: to have been granted it is not enough.
        statement = (
            f"PERFORM set_config('role', '{OWNER}', true); {statement}; "
            "PERFORM set_config('role', before, true)"
        )
    return f"""
DO $race$ DECLARE before text := current_setting('role'); BEGIN
  {statement};
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $race$"""
