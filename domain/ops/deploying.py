"""Whether a deployment is safe: findings with ids that stay, from the settings and the database.

`tradekeep check --deploy` shows all of them. What the settings alone tell wrong stops the
application from starting in production, unless the id is named in ``TRADEKEEP_ACCEPTED_RISKS``.
Each id is explained in ``docs/pages/security.md``.
"""

import ipaddress
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import and_, literal, select, text
from sqlalchemy.engine import URL

from domain.cache.client import MEMORY, Address, parse_redis_url
from domain.database import Database
from domain.db import migrations
from domain.db.engine import parse_url
from domain.db.unit import Unit
from domain.errors import ConfigurationError, DatabaseError
from domain.identity.encryption import keyring_of
from domain.identity.models import Role, SecondFactor, User
from domain.ops.health import readiness
from domain.schema import metadata
from domain.settings import Environment, Settings

DEMO_USERS: Final = ("demo",)
"""Users that the demo data brings."""

_LOCAL: Final = frozenset({"", "localhost", "127.0.0.1", "::1", "[::1]"})
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
_VERIFIED: Final = "verify-full"
_FEWEST_BYTES: Final = 12
_ANYBODYS: Final = frozenset(
    {
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "yahoo.com",
        "icloud.com",
        "proton.me",
        "protonmail.com",
        "gmx.de",
        "gmx.net",
        "web.de",
    }
)
"""Domains in which everybody may have an address."""
_LONGEST_HOURS: Final = 24
_LONGEST_IDLE_MINUTES: Final = 60


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be; never shows a secret.

    Args:
        id: Its id, which stays the same.
        level: How much it matters.
        message: What is wrong.
        remedy: What to do.
    """

    id: str
    level: Level
    message: str
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def _error(ident: str, message: str, remedy: str) -> Finding:
    return Finding(ident, Level.ERROR, message, remedy)


def _warning(ident: str, message: str, remedy: str) -> Finding:
    return Finding(ident, Level.WARNING, message, remedy)


async def check_deployment(db: Database) -> list[Finding]:
    """Return everything that is found, errors first, without what is accepted.

    Args:
        db: An open database, which need not answer.
    """
    url = db.engine.url.render_as_string(hide_password=False)
    found = check_settings(db.settings, None if db.is_embedded else url)
    found += await check_database(db)
    open_ones = [item for item in found if item.id not in db.settings.accepted_risks]
    return sorted(open_ones, key=lambda item: (item.level is not Level.ERROR, item.id))


def refuse_unsafe(settings: Settings, url: str | None = None) -> None:
    """Go on unless this is production and the settings alone are wrong.

    Args:
        settings: The settings.
        url: The database, where it is not the settings' own.

    Raises:
        ConfigurationError: With the ids of the errors that are not accepted.
    """
    if settings.environment is not Environment.PRODUCTION:
        return
    wrong = [
        item
        for item in check_settings(settings, url or _database_of(settings))
        if item.level is Level.ERROR and item.id not in settings.accepted_risks
    ]
    if wrong:
        listed = "; ".join(f"{item.id}: {item.message} ({item.remedy})" for item in wrong)
        raise ConfigurationError(f"not safe for production: {listed}")


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def check_settings(settings: Settings, url: str | None) -> list[Finding]:
    """Return what the settings alone tell; asks nobody.

    Args:
        settings: The settings.
        url: The database; None: the embedded server.
    """
    return [
        *_environment(settings),
        *_keys(settings),
        *_hosts(settings),
        *_database_url(url),
        *_redis_url(settings),
        *_sessions(settings),
        *_proxies(settings),
        *_provider(settings),
        *_logging(),
    ]


def _database_of(settings: Settings) -> str | None:
    configured = settings.database_url
    return None if configured is None else configured.get_secret_value()


def _environment(settings: Settings) -> Iterator[Finding]:
    if settings.environment is not Environment.PRODUCTION:
        yield _error(
            "SEC001",
            "cookies are sent without HTTPS, and browsers are not told to stay on it",
            "set TRADEKEEP_ENVIRONMENT=production behind HTTPS",
        )
    if settings.allow_private_webhooks:
        yield _warning(
            "SEC014",
            "users' webhooks may call addresses of the own network, without TLS too",
            "unset TRADEKEEP_ALLOW_PRIVATE_WEBHOOKS",
        )


def _keys(settings: Settings) -> Iterator[Finding]:
    ring = keyring_of(settings)
    if ring is None:
        yield _warning(
            "SEC002",
            "there is no encryption key: no second step and no provider's token can be kept",
            "set TRADEKEEP_ENCRYPTION_KEYS to id:base64 of 32 random bytes",
        )
        return
    keys = list(ring.keys.values())
    if any(len(set(key)) < _FEWEST_BYTES for key in keys):
        yield _error(
            "SEC003",
            "an encryption key was not drawn at random",
            "draw it: openssl rand -base64 32",
        )
    if len(set(keys)) < len(keys):
        yield _error("SEC004", "two encryption keys are the same", "give each id a key of its own")


def _hosts(settings: Settings) -> Iterator[Finding]:
    hosts = settings.allowed_hosts
    if not hosts or "*" in hosts:
        yield _error("SEC005", "any host name is answered", "name yours in TRADEKEEP_ALLOWED_HOSTS")
    elif set(hosts) <= _LOCAL:
        yield _warning(
            "SEC006",
            "only names of this machine are answered",
            "name the public host in TRADEKEEP_ALLOWED_HOSTS",
        )


def _database_url(url: str | None) -> Iterator[Finding]:
    if url is None:
        yield _error(
            "SEC007",
            "the embedded server keeps the data: it is for one machine and for trying out",
            "set TRADEKEEP_DATABASE_URL to a server that is backed up",
        )
        return
    parsed = parse_url(url)
    mode = str(parsed.query.get("ssl", ""))
    if _is_remote(parsed) and mode not in _ENCRYPTED:
        yield _error(
            "SEC008", "the database is reached without TLS", "add ?sslmode=verify-full to its URL"
        )
    elif _is_remote(parsed) and mode != _VERIFIED:
        yield _warning(
            "SEC009",
            "the database's certificate is not compared with its name",
            "add ?sslmode=verify-full to its URL",
        )


def _is_remote(url: URL) -> bool:
    host = url.host or str(url.query.get("host", ""))
    return host not in _LOCAL and not host.startswith("/")


def _redis_url(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        return
    address = parse_redis_url(settings.redis_url.get_secret_value())
    arguments = dict(address.arguments)
    hosts = {host for host, _ in address.hosts} | {str(arguments.get("host", ""))}
    if address.scheme in {MEMORY, "unix"} or hosts <= _LOCAL:
        return
    if not _has_tls(address):
        yield _error("SEC010", "Redis is reached without TLS", "use rediss:// in its URL")
    if not arguments.get("password"):
        yield _error("SEC011", "Redis asks for no password", "give it one, and put it into its URL")


def _has_tls(address: Address) -> bool:
    return address.scheme.startswith("rediss")


def _sessions(settings: Settings) -> Iterator[Finding]:
    too_long = settings.session_hours > _LONGEST_HOURS
    if too_long or settings.session_idle_minutes > _LONGEST_IDLE_MINUTES:
        yield _warning(
            "SEC012",
            "logins last for longer than a day, or an hour without use",
            "lower TRADEKEEP_SESSION_HOURS and TRADEKEEP_SESSION_IDLE_MINUTES",
        )


def _proxies(settings: Settings) -> Iterator[Finding]:
    networks = [ipaddress.ip_network(part) for part in settings.trusted_proxies]
    if any(network.prefixlen == 0 for network in networks):
        yield _error(
            "SEC013",
            "every visitor may say where he comes from, and so escape the throttle",
            "name the proxy alone in TRADEKEEP_TRUSTED_PROXIES",
        )
    elif not networks:
        yield _warning(
            "SEC016",
            "no proxy is trusted: behind one, all visitors share its address",
            "name the proxy in TRADEKEEP_TRUSTED_PROXIES",
        )


def _provider(settings: Settings) -> Iterator[Finding]:
    if settings.oidc_issuer is None:
        return
    addresses = (settings.oidc_issuer, settings.oidc_redirect_uri or "")
    if any(address.startswith("http://") for address in addresses):
        yield _error(
            "SEC017",
            "logins go to the identity provider, or come back, without TLS",
            "use https:// in TRADEKEEP_OIDC_ISSUER and TRADEKEEP_OIDC_REDIRECT_URI",
        )
    if open_to_all := sorted(_ANYBODYS & {item.lower() for item in settings.oidc_create_domains}):
        yield _error(
            "SEC018",
            f"anybody with an address of {', '.join(open_to_all)} becomes a member of staff",
            "name domains of your own in TRADEKEEP_OIDC_CREATE_DOMAINS",
        )
    if settings.oidc_client_secret is None:
        yield _warning(
            "SEC019",
            "the identity provider does not ask this installation for a secret",
            "set TRADEKEEP_OIDC_CLIENT_SECRET",
        )


def _logging() -> Iterator[Finding]:
    if logging.getLogger("sqlalchemy.engine").isEnabledFor(logging.INFO):
        yield _error(
            "SEC015",
            "statements and their values are written into the log",
            "set the logger sqlalchemy.engine to WARNING",
        )


# ── the database ─────────────────────────────────────────────────────────────────────────────────


async def check_database(db: Database) -> list[Finding]:
    """Return what the database tells."""
    state = await readiness(db)
    if state.database == "unavailable":
        remedy = "see tradekeep health"
        return [
            _error("SEC020", "the database cannot be reached, so nothing else is known", remedy)
        ]
    if state.migrations != "ok":
        remedy = f"run tradekeep db upgrade, up to {migrations.head()}"
        return [_error("SEC023", "migrations are pending, so nothing else is known", remedy)]
    try:
        async with db.read(system="check") as unit:
            return [*await _roles(unit), *await _row_security(unit), *await _people(unit)]
    except DatabaseError:
        return [_error("SEC020", "the database did not answer", "see tradekeep health")]


_LOGIN: Final = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user")
_BACKUP: Final = text(
    "SELECT EXISTS (SELECT FROM pg_roles WHERE rolbypassrls AND rolcanlogin AND NOT rolsuper)"
)
_UNFORCED: Final = text(
    """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE n.nspname || '.' || c.relname = ANY (CAST(:tables AS text[]))
      AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1
    """
)


async def _roles(unit: Unit) -> Sequence[Finding]:
    found = []
    if await unit.session.scalar(_LOGIN):
        found.append(
            _error(
                "SEC021",
                "the application logs in as who may bypass row-level security",
                "let it log in as a role without SUPERUSER and BYPASSRLS",
            )
        )
    if not await unit.session.scalar(_BACKUP):
        found.append(
            _warning(
                "SEC026",
                "no role for backups: pg_dump under row-level security leaves rows out or stops",
                "create one: CREATE ROLE backup LOGIN BYPASSRLS, with rights to read only",
            )
        )
    return found


async def _row_security(unit: Unit) -> Sequence[Finding]:
    owned = [table.fullname for table in metadata.tables.values() if "user_id" in table.columns]
    names = list(await unit.session.scalars(_UNFORCED, {"tables": [*owned, "identity.users"]}))
    if not names:
        return []
    remedy = "run tradekeep db check, and restore what it names"
    return [_error("SEC022", f"row-level security is not forced on {', '.join(names)}", remedy)]


async def _people(unit: Unit) -> Sequence[Finding]:
    found, users = [], unit[User]
    if await users.exists(users.query(User.username.in_(DEMO_USERS))):
        remedy = "load the demo into a database of its own"
        found.append(_error("SEC024", "the demo's user is in this database", remedy))
    enrolled = select(literal(1)).where(
        SecondFactor.user_id == User.id, SecondFactor.confirmed_at.is_not(None)
    )
    is_active_admin = and_(User.role == Role.ADMIN, User.is_active)
    if await users.exists(users.query(is_active_admin, ~enrolled.exists())):
        remedy = "let them add one on their account page"
        found.append(_warning("SEC025", "an administrator has no second step", remedy))
    return found
