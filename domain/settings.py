"""Every setting, read once from the environment; nothing else in the code reads it.

The prefix is ``TRADEKEEP_``; ``DATABASE_URL`` and ``REDIS_URL`` are honoured too. Values are
checked when they are read: a wrong one names the variable and the rule, never the secret.
"""

import ipaddress
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.errors import ConfigurationError

_CHECKOUT = Path(__file__).resolve().parent.parent


class Environment(StrEnum):
    """Where the process runs; outside development unsafe settings are refused."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def default_data_dir() -> Path:
    """Return ``.data`` inside a source checkout, else the user's data folder."""
    if (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "alembic").is_dir():
        return _CHECKOUT / ".data"
    return Path(platformdirs.user_data_dir("tradekeep"))


class Settings(BaseSettings):
    """All settings with their defaults; durations are seconds.

    Example:
        >>> Settings(port=9000).port
        9000
    """

    model_config = SettingsConfigDict(
        env_prefix="TRADEKEEP_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    environment: Environment = Environment.DEVELOPMENT
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("TRADEKEEP_DATABASE_URL", "DATABASE_URL")
    )
    redis_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("TRADEKEEP_REDIS_URL", "REDIS_URL")
    )
    data_dir: Path = Field(default_factory=default_data_dir)
    storage_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "localhost", "[::1]")
    encryption_keys: SecretStr | None = None
    pgbouncer: bool = False
    pool_size: int = Field(default=5, ge=1, le=500)
    pool_overflow: int = Field(default=10, ge=0, le=500)
    pool_timeout: float = Field(default=10, gt=0, le=600)
    connect_timeout: float = Field(default=10, gt=0, le=600)
    statement_timeout: float = Field(default=30, gt=0, le=86_400)
    lock_timeout: float = Field(default=5, gt=0, le=3_600)
    idle_timeout: float = Field(default=60, gt=0, le=86_400)
    keep_ticks_days: int | None = Field(default=None, ge=1, le=36_500)
    keep_bars_days: int | None = Field(default=None, ge=1, le=36_500)
    keep_metrics_days: int | None = Field(default=None, ge=1, le=36_500)
    keep_audit_days: int | None = Field(default=None, ge=1, le=36_500)
    compress_after_days: int | None = Field(default=30, ge=1, le=36_500)
    run_worker: bool = True
    worker_batch: int = Field(default=500, ge=1, le=10_000)
    worker_timeout: float = Field(default=30, gt=0, le=3_600)
    worker_attempts: int = Field(default=8, ge=1, le=100)
    worker_first_pause: float = Field(default=1, ge=0, le=3_600)
    worker_longest_pause: float = Field(default=600, ge=0, le=86_400)
    worker_idle: float = Field(default=1, gt=0, le=60)
    worker_grace: float = Field(default=10, ge=0, le=600)
    keep_messages_days: int | None = Field(default=30, ge=1, le=36_500)
    keep_notices_days: int | None = Field(default=365, ge=1, le=36_500)
    keep_sessions_days: int | None = Field(default=30, ge=1, le=36_500)
    notification_timeout: float = Field(default=10, gt=0, le=300)
    smtp_url: SecretStr | None = None
    mail_from: str | None = None
    allow_private_webhooks: bool = False
    cache_prefix: str = Field(default="tradekeep", pattern=r"^[a-z0-9_.-]{1,40}$")
    cache_budget: float = Field(default=0.05, gt=0, le=10)
    cache_strict: bool = False
    cache_outbox_always: bool = False
    cache_intent_seconds: float = Field(default=10, ge=1, le=300)
    cache_loaders: int = Field(default=8, ge=1, le=200)
    cache_hot_seconds: float = Field(default=5, gt=0, le=86_400)
    cache_warm_seconds: float = Field(default=120, gt=0, le=86_400)
    cache_cold_seconds: float = Field(default=3_600, gt=0, le=604_800)
    cache_session_seconds: float = Field(default=86_400, gt=0, le=604_800)
    cache_analysis_seconds: float = Field(default=1_200, gt=0, le=604_800)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    accepted_risks: Annotated[tuple[str, ...], NoDecode] = ()
    session_idle_minutes: int = Field(default=30, ge=1, le=1_440)
    session_hours: int = Field(default=12, ge=1, le=720)
    oidc_issuer: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_redirect_uri: str | None = Field(
        default=None, pattern=r"^https?://[^\s?#]+/admin/login/oidc/callback$"
    )
    oidc_name: str = Field(default="single sign-on", min_length=1, max_length=40)
    oidc_scopes: str = Field(default="openid profile email", pattern=r"^openid( |$)")
    oidc_second_step_counts: bool = False
    oidc_acr_values: Annotated[tuple[str, ...], NoDecode] = ()
    oidc_create_domains: Annotated[tuple[str, ...], NoDecode] = ()
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$")

    @field_validator(
        "allowed_hosts",
        "trusted_proxies",
        "accepted_risks",
        "oidc_acr_values",
        "oidc_create_domains",
        mode="before",
    )
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            ipaddress.ip_network(part)
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: A variable is malformed; the message names it and the rule.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise ConfigurationError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    problems = [f"{_variable(item['loc'])}: {item['msg']}" for item in error.errors()]
    return "; ".join(problems)


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "settings"
    prefixed = f"TRADEKEEP_{name.upper()}"
    return prefixed if prefixed in os.environ or name.islower() else name
