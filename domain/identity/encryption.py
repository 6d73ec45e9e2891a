"""Tokens at rest: AES-256-GCM, keys with ids, each ciphertext bound to its row and column.

A ciphertext that is moved to another row or column does not open: the row's identity is
authenticated with it (AAD). Rotation reads with any configured key and writes with the first.
"""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.db.unit import UnitOfWork
from domain.errors import ConfigurationError, InvalidData
from domain.identity.models import OAuthToken
from domain.identity.repositories import OAuthTokenRepository
from domain.settings import Settings

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The encryption keys; the first one writes, all of them read.

    Args:
        keys: 32-byte keys by id, the current one first.
    """

    keys: Mapping[str, bytes]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``id:base64,id:base64``, the current key first.

        Raises:
            ConfigurationError: Not that form; no part of a key is shown.
        """
        keys: dict[str, bytes] = {}
        for number, part in enumerate(text.split(","), start=1):
            key_id, _, encoded = part.strip().partition(":")
            if not _KEY_ID.fullmatch(key_id) or key_id in keys:
                raise ConfigurationError(
                    f"TRADEKEEP_ENCRYPTION_KEYS: part {number} must begin with its own id and ':'"
                )
            keys[key_id] = _decoded(encoded, number)
        return cls(keys)

    @property
    def current_id(self) -> str:
        """The id of the key that writes."""
        return next(iter(self.keys))

    def encrypt(self, plaintext: str, *, bound_to: bytes) -> bytes:
        """Return nonce and ciphertext of `plaintext`, made with the current key."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.keys[self.current_id]).encrypt(nonce, plaintext.encode(), bound_to)
        return nonce + sealed

    def decrypt(self, ciphertext: bytes, *, key_id: str, bound_to: bytes) -> str:
        """Return the plaintext.

        Raises:
            ConfigurationError: The key is not configured any more.
            InvalidData: The ciphertext was altered, or belongs to another row or column.
        """
        if key_id not in self.keys:
            raise ConfigurationError(f"encryption key {key_id!r} is not configured")
        nonce, sealed = ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:]
        try:
            return AESGCM(self.keys[key_id]).decrypt(nonce, sealed, bound_to).decode()
        except InvalidTag:
            raise InvalidData("token", "ciphertext", "belong to its row and be unaltered") from None


def keyring_of(settings: Settings) -> Keyring | None:
    """Return the configured keys, None when there are none.

    Raises:
        ConfigurationError: They are malformed; no part of a key is shown.
    """
    keys = settings.encryption_keys
    return None if keys is None else Keyring.parse(keys.get_secret_value())


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """A provider's tokens in clear: never stored, logged or shown.

    Args:
        access: The access token.
        refresh: The refresh token, if there is one.
        expires_at: End of the access token, UTC.
        scopes: What was granted.
    """

    access: str
    expires_at: datetime
    refresh: str | None = None
    scopes: tuple[str, ...] = ()


async def store_tokens(
    unit: UnitOfWork, keyring: Keyring, tokens: Tokens, *, user_id: UUID, provider: str
) -> OAuthToken:
    """Store or replace a provider's tokens for a user, encrypted."""
    repository = unit.repository(OAuthTokenRepository)
    found = await repository.first(
        repository.query(OAuthToken.user_id == user_id, OAuthToken.provider == provider)
    )
    sealed: dict[str, Any] = {
        "access_token_enc": keyring.encrypt(
            tokens.access, bound_to=_binding(user_id, provider, "access")
        ),
        "refresh_token_enc": None
        if tokens.refresh is None
        else keyring.encrypt(tokens.refresh, bound_to=_binding(user_id, provider, "refresh")),
        "key_id": keyring.current_id,
        "scopes": list(tokens.scopes),
        "expires_at": tokens.expires_at,
    }
    if found is None:
        found = repository.add(OAuthToken(user_id=user_id, provider=provider, **sealed))
    for name, value in sealed.items():
        setattr(found, name, value)
    await unit.flush()
    return found


def read_tokens(keyring: Keyring, stored: OAuthToken) -> Tokens:
    """Return the tokens in clear.

    Raises:
        ConfigurationError: The key is not configured any more.
        InvalidData: A ciphertext was altered or moved.
    """

    def opened(ciphertext: bytes, name: str) -> str:
        binding = _binding(stored.user_id, stored.provider, name)
        return keyring.decrypt(ciphertext, key_id=stored.key_id, bound_to=binding)

    refresh = stored.refresh_token_enc
    return Tokens(
        access=opened(stored.access_token_enc, "access"),
        refresh=None if refresh is None else opened(refresh, "refresh"),
        expires_at=stored.expires_at,
        scopes=tuple(stored.scopes),
    )


async def rotate_tokens(unit: UnitOfWork, keyring: Keyring) -> int:
    """Encrypt every token that an older key holds anew with the current key; return how many."""
    repository = unit.repository(OAuthTokenRepository)
    old = await repository.all(repository.query(OAuthToken.key_id != keyring.current_id))
    for stored in old:
        tokens = read_tokens(keyring, stored)
        await store_tokens(unit, keyring, tokens, user_id=stored.user_id, provider=stored.provider)
    return len(old)


def _binding(user_id: UUID, provider: str, name: str) -> bytes:
    return f"identity.oauth_tokens|{user_id}|{provider}|{name}".encode()


def _decoded(encoded: str, number: int) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"TRADEKEEP_ENCRYPTION_KEYS: part {number} must be 32 bytes in base64 after its id"
        )
    return key
