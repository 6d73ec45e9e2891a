"""Opens the store behind a URL: a folder, memory, or an S3-compatible service.

Secrets never stand in the URL. For S3 they come from the environment as for every tool:
``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, or the machine's role.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from domain.errors import ConfigurationError

_OPTIONS: Final = frozenset({"endpoint", "region"})
_FORMS: Final = "be a folder, file:///folder, memory: or s3://bucket/prefix?endpoint=…&region=…"


@dataclass(frozen=True, slots=True)
class Opened:
    """A store ready to be used.

    Args:
        store: The library's store.
        folder: The folder behind it, without symbolic links; None for the others.
    """

    store: ObjectStore
    folder: Path | None = None


def open_store(url: str) -> Opened:
    """Return the store behind `url`; makes a missing folder and connects to nothing.

    Raises:
        ConfigurationError: `url` is none of the known forms, or holds a secret.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return Opened(_s3(url))
    if url in {"memory:", "memory://"}:
        return Opened(MemoryStore())
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return _local(Path(unquote(parts.path)))
    if url and "://" not in url:
        return _local(Path(url))
    raise ConfigurationError(f"TRADEKEEP_STORAGE_URL must {_FORMS}")


def _local(folder: Path) -> Opened:
    try:
        folder.expanduser().mkdir(parents=True, exist_ok=True, mode=0o700)
        root = folder.expanduser().resolve(strict=True)
        return Opened(LocalStore(root, automatic_cleanup=True), root)
    except (OSError, ValueError, obstore.exceptions.BaseError) as error:
        raise ConfigurationError(
            f"the storage folder cannot be used: {type(error).__name__}"
        ) from None


def _s3(url: str) -> S3Store:
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.username or parts.password or options.keys() - _OPTIONS or not parts.hostname:
        raise ConfigurationError(
            "TRADEKEEP_STORAGE_URL must be s3://bucket/prefix?endpoint=…&region=… and hold no"
            " secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY come from the environment"
        )
    config: dict[str, Any] = {name: value for name, value in options.items() if value}
    prefix = parts.path.strip("/")
    try:
        return S3Store(
            parts.netloc,
            prefix=prefix or None,
            client_options={
                # The timeout covers the whole body, and bodies are large.
                "timeout": "10m",
                "connect_timeout": "5s",
                "allow_http": options.get("endpoint", "").startswith("http://"),
            },
            retry_config=_RETRIES,
            **config,
        )
    except (ValueError, obstore.exceptions.BaseError):
        # The library's words may repeat what stands in the environment.
        raise ConfigurationError(
            "the S3 store of TRADEKEEP_STORAGE_URL is set up wrongly"
        ) from None


_RETRIES: Final[Any] = {"max_retries": 3}
