"""Passwords: argon2id with the parameters of OWASP ASVS 5.0, appendix C (19 MiB and up).

An unknown user costs the same time as a wrong password, so that nobody can ask who exists.
"""

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import InvalidData

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=47_104, parallelism=1)
_NOBODY: Final = _HASHER.hash("nobody has this password")


def hash_password(password: str) -> str:
    """Return the argon2id hash of `password`, exactly as typed: nothing is cut or folded.

    Takes about 50 ms of one core and 46 MiB: call it outside the event loop.

    Raises:
        InvalidData: Shorter than 12 or longer than 256 characters; the value is not shown.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        rule = f"have {MIN_LENGTH} to {MAX_LENGTH} characters"
        raise InvalidData("password", f"{len(password)} characters", rule)
    return _HASHER.hash(password)


def is_password(password: str, stored_hash: str | None) -> bool:
    """Return whether `password` belongs to `stored_hash`.

    Args:
        password: As typed.
        stored_hash: None for an unknown user, which takes as long as a wrong password.
    """
    try:
        matches = _HASHER.verify(stored_hash or _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and stored_hash is not None


def is_outdated(stored_hash: str) -> bool:
    """Return whether the hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(stored_hash)
