"""The second step of a login: authenticators are enrolled, codes are checked and used up once."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from domain.clock import now
from domain.db.unit import Unit, UnitOfWork
from domain.errors import InvalidData
from domain.identity import one_time
from domain.identity.encryption import Keyring
from domain.identity.models import RecoveryCode, SecondFactor, User
from domain.identity.repositories import RecoveryCodeRepository, SecondFactorRepository

ISSUER: Final = "Tradekeep"


class Verdict(StrEnum):
    """What a typed code was."""

    RIGHT = "right"
    RECOVERY = "recovery"
    """A recovery code; it is used up."""
    WRONG = "wrong"
    USED = "used"
    """The right code, but it was used already: whoever looked over the shoulder."""
    OTHER_TIME = "other time"
    """The right code of another time: one of the clocks is wrong."""

    @property
    def is_good(self) -> bool:
        """Whether it opens the door."""
        return self in {Verdict.RIGHT, Verdict.RECOVERY}


@dataclass(frozen=True, slots=True, repr=False)
class Enrolment:
    """What an authenticator is told; shown while it is enrolled.

    Args:
        secret: The shared secret, base32.
        uri: The same for a QR code.
    """

    secret: str
    uri: str


async def has_second_factor(unit: Unit, user_id: UUID) -> bool:
    """Return whether logins of this user ask for a code."""
    found = await unit.repository(SecondFactorRepository).find(user_id)
    return found is not None and found.confirmed_at is not None


async def begin_enrolment(unit: UnitOfWork, keyring: Keyring, user: User) -> Enrolment:
    """Return what the authenticator needs; the same again until its first code was right.

    Raises:
        InvalidData: The user has an authenticator already.
    """
    factors = unit.repository(SecondFactorRepository)
    found = await factors.lock(user.id)
    if found is not None and found.confirmed_at is not None:
        raise InvalidData("code", "enrolled", "be given up before another one is enrolled")
    if found is None:
        secret = one_time.new_secret()
        found = factors.add(
            SecondFactor(
                user_id=user.id,
                secret_enc=keyring.encrypt(secret, bound_to=_binding(user.id)),
                key_id=keyring.current_id,
            )
        )
        await unit.flush()
    secret = _secret(keyring, found)
    return Enrolment(secret, one_time.key_uri(secret, account=user.username, issuer=ISSUER))


async def finish_enrolment(
    unit: UnitOfWork, keyring: Keyring, user: User, code: str
) -> tuple[Verdict, list[str]]:
    """Check the first code; from then on logins ask. Return the recovery codes, shown once."""
    found = await unit.repository(SecondFactorRepository).lock(user.id)
    if found is None or found.confirmed_at is not None:
        return Verdict.WRONG, []
    verdict = _judge(keyring, found, code)
    if not verdict.is_good:
        return verdict, []
    found.confirmed_at = now()
    return verdict, await new_recovery_codes(unit, user.id)


async def check_code(unit: UnitOfWork, keyring: Keyring, user_id: UUID, code: str) -> Verdict:
    """Check a code of the authenticator, or a recovery code, and use it up.

    The row is locked first: of two logins with one code, one is refused.
    """
    found = await unit.repository(SecondFactorRepository).lock(user_id)
    if found is None or found.confirmed_at is None:
        return Verdict.WRONG
    verdict = _judge(keyring, found, code)
    if verdict is not Verdict.WRONG:
        return verdict
    return await _use_recovery_code(unit, user_id, code)


async def new_recovery_codes(unit: UnitOfWork, user_id: UUID) -> list[str]:
    """Return ten new codes; the old ones end."""
    stored = unit.repository(RecoveryCodeRepository)
    await stored.delete_where(RecoveryCode.user_id == user_id)
    codes = [one_time.new_recovery_code() for _ in range(one_time.CODES)]
    for code in codes:
        stored.add(RecoveryCode(user_id=user_id, code_hash=one_time.recovery_hash(code)))
    await unit.flush()
    return codes


async def remove_second_factor(unit: UnitOfWork, user_id: UUID) -> None:
    """Forget a user's authenticator and recovery codes; logins do not ask any more."""
    await unit.repository(RecoveryCodeRepository).delete_where(RecoveryCode.user_id == user_id)
    factors = unit.repository(SecondFactorRepository)
    await factors.delete_where(SecondFactor.user_id == user_id)


async def rotate_second_factors(unit: UnitOfWork, keyring: Keyring) -> int:
    """Encrypt every secret that an older key holds anew with the current key; return how many."""
    factors = unit.repository(SecondFactorRepository)
    old = await factors.all(factors.query(SecondFactor.key_id != keyring.current_id))
    for found in old:
        secret = _secret(keyring, found)
        found.secret_enc = keyring.encrypt(secret, bound_to=_binding(found.user_id))
        found.key_id = keyring.current_id
    await unit.flush()
    return len(old)


def _judge(keyring: Keyring, found: SecondFactor, code: str) -> Verdict:
    secret, instant = _secret(keyring, found), now()
    step = one_time.matching_step(secret, code, instant)
    if step is None:
        far = one_time.matching_step(secret, code, instant, reach=one_time.FAR)
        return Verdict.WRONG if far is None else Verdict.OTHER_TIME
    if found.last_step is not None and step <= found.last_step:
        return Verdict.USED
    found.last_step = step
    return Verdict.RIGHT


async def _use_recovery_code(unit: UnitOfWork, user_id: UUID, code: str) -> Verdict:
    stored = unit.repository(RecoveryCodeRepository)
    wanted = stored.query(
        RecoveryCode.user_id == user_id, RecoveryCode.code_hash == one_time.recovery_hash(code)
    )
    found = await stored.first(wanted.with_for_update())
    if found is None:
        return Verdict.WRONG
    if found.used_at is not None:
        return Verdict.USED
    found.used_at = now()
    return Verdict.RECOVERY


def _secret(keyring: Keyring, found: SecondFactor) -> str:
    return keyring.decrypt(found.secret_enc, key_id=found.key_id, bound_to=_binding(found.user_id))


def _binding(user_id: UUID) -> bytes:
    return f"identity.second_factors|{user_id}|secret".encode()
