"""Time-based one-time passwords (TOTP) and recovery codes: the arithmetic, without storage.

Source: RFC 6238 with its usual parameters: SHA-1, 30 seconds, 6 digits. The keyed hash is
`cryptography`'s, which is there for the encryption anyway.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

STEP_SECONDS: Final = 30
REACH: Final = 1
"""Steps before and after now whose code is right: clocks differ, and people type slowly."""

FAR: Final = 20
"""Steps in which a code is recognised as right at another time: a clock that is wrong."""

CODES: Final = 10
_DIGITS: Final = 6
_SECRET_BYTES: Final = 20
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH: Final = 24
_GROUP: Final = 4


def new_secret() -> str:
    """Return a secret of 160 random bits, in base32 as authenticators want it."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def step_of(instant: datetime) -> int:
    """Return the number of the 30-second step that an instant lies in."""
    return int(instant.timestamp()) // STEP_SECONDS


def code_at(secret: str, step: int) -> str:
    """Return the code of a step.

    Example:
        >>> code_at("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 59 // 30)
        '287082'
    """
    # Authenticators know no other hash; as a keyed one SHA-1 is sound.
    return HOTP(base64.b32decode(secret), _DIGITS, SHA1()).generate(step).decode()  # noqa: S303 - see above


def matching_step(secret: str, code: str, instant: datetime, *, reach: int = REACH) -> int | None:
    """Return the step near `instant` that a code belongs to, None when there is none.

    Args:
        secret: The shared secret, base32.
        code: Six digits; spaces are ignored.
        instant: Now.
        reach: How many steps before and after are looked at.
    """
    typed = "".join(code.split())
    if len(typed) != _DIGITS or not (typed.isascii() and typed.isdigit()):
        return None
    here = step_of(instant)
    found = None
    for step in range(max(0, here - reach), here + reach + 1):
        if hmac.compare_digest(code_at(secret, step), typed):
            found = step
    return found


def key_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the ``otpauth://`` address that an authenticator reads from a QR code."""
    label = quote(f"{issuer}:{account}")
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer)}"


def new_recovery_code() -> str:
    """Return a code of 120 random bits in groups of four, without letters that look alike."""
    drawn = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))
    return "-".join(drawn[at : at + _GROUP] for at in range(0, _CODE_LENGTH, _GROUP))


def recovery_hash(code: str) -> bytes:
    """Return the SHA-256 under which a recovery code is stored.

    Case, dashes and spaces do not matter, nor whether an O was read for a 0. A code of 120 bits
    needs no slow hash (ASVS 6.5.2).
    """
    read = code.upper().replace("O", "0").replace("I", "1").replace("L", "1")
    return hashlib.sha256("".join(char for char in read if char in _ALPHABET).encode()).digest()
