"""Codes of authenticators: right in their time, once; recovery codes: once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import Database
from domain.clock import now
from domain.errors import InvalidData
from domain.identity import one_time, second_factors
from domain.identity.encryption import Keyring
from domain.identity.models import SecondFactor, User
from domain.identity.second_factors import (
    Verdict,
    begin_enrolment,
    check_code,
    finish_enrolment,
    has_second_factor,
    new_recovery_codes,
    remove_second_factor,
    rotate_second_factors,
)
from tests.factories.identity import make_user

MOMENT = now()
KEYS = Keyring({"k1": b"1" * 32})
NEWER = Keyring({"k2": b"2" * 32, "k1": b"1" * 32})
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are judged at one instant: no test may sit on the edge of a step."""
    monkeypatch.setattr(second_factors, "now", lambda: MOMENT)


def code_of(secret: str, *, steps: int = 0) -> str:
    return one_time.code_at(secret, one_time.step_of(MOMENT) + steps)


async def enrolled(db: Database) -> tuple[User, str, list[str]]:
    """Return a user whose authenticator used the code of the step before this one."""
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        secret = (await begin_enrolment(unit, KEYS, user)).secret
        verdict, codes = await finish_enrolment(unit, KEYS, user, code_of(secret, steps=-1))
    assert verdict is Verdict.RIGHT
    return user, secret, codes


async def verdict_of(db: Database, user: User, code: str, keys: Keyring = KEYS) -> Verdict:
    async with db.transaction(system="test") as unit:
        return await check_code(unit, keys, user.id, code)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    # Source: RFC 6238, appendix B, cut to six digits.
    instant = datetime.fromtimestamp(seconds, UTC)
    assert one_time.code_at(RFC_SECRET, one_time.step_of(instant)) == code
    assert one_time.matching_step(RFC_SECRET, f" {code[:3]} {code[3:]}", instant) == seconds // 30


@given(st.integers(0, 10**9), st.integers(-4, 4))
def test_a_code_is_right_one_step_before_and_after(step: int, away: int) -> None:
    instant = datetime.fromtimestamp(step * 30 + 15, UTC) + timedelta(seconds=30 * away)
    found = one_time.matching_step(RFC_SECRET, one_time.code_at(RFC_SECRET, step), instant)
    assert found == step or abs(away) > 1


@given(st.text(max_size=8))
def test_what_is_no_code_is_wrong_and_breaks_nothing(text: str) -> None:
    found = one_time.matching_step(RFC_SECRET, text, datetime(2026, 1, 1, tzinfo=UTC))
    assert found is None or "".join(text.split()).isdigit()


def test_recovery_codes_forgive_how_they_are_typed() -> None:
    code = one_time.new_recovery_code()
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert one_time.recovery_hash(typed) == one_time.recovery_hash(code)
    assert len(code) == 29 and len({one_time.new_recovery_code() for _ in range(50)}) == 50


async def test_logins_ask_only_after_the_first_code_was_right(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        first = await begin_enrolment(unit, KEYS, user)
        again = await begin_enrolment(unit, KEYS, user)
        assert first.secret == again.secret, "a page that is loaded again shows the same picture"
        assert f"secret={first.secret}" in first.uri
        assert await finish_enrolment(unit, KEYS, user, "000") == (Verdict.WRONG, [])
        assert not await has_second_factor(unit, user.id)
    assert await verdict_of(db, user, code_of(first.secret)) is Verdict.WRONG


async def test_a_code_works_once_and_an_earlier_one_not_after_it(db: Database) -> None:
    user, secret, _ = await enrolled(db)
    code = code_of(secret)
    assert await verdict_of(db, user, code) is Verdict.RIGHT
    assert await verdict_of(db, user, code) is Verdict.USED
    assert await verdict_of(db, user, code_of(secret, steps=-1)) is Verdict.USED
    assert await verdict_of(db, user, code_of(secret, steps=-9)) is Verdict.OTHER_TIME
    assert await verdict_of(db, user, "12345") is Verdict.WRONG


async def test_of_two_logins_with_one_code_one_is_refused(db: Database) -> None:
    user, secret, codes = await enrolled(db)
    for code in (code_of(secret), codes[0]):
        verdicts = await asyncio.gather(*(verdict_of(db, user, code) for _ in range(4)))
        assert sorted(verdict.is_good for verdict in verdicts) == [False, False, False, True]


async def test_ten_recovery_codes_open_once_each_and_new_ones_end_them(db: Database) -> None:
    user, _, codes = await enrolled(db)
    assert len(set(codes)) == 10
    assert await verdict_of(db, user, codes[3].lower()) is Verdict.RECOVERY
    assert await verdict_of(db, user, codes[3]) is Verdict.USED
    async with db.transaction(system="test") as unit:
        assert await unit.recovery_codes.unused(user.id) == 9
        fresh = await new_recovery_codes(unit, user.id)
    assert await verdict_of(db, user, codes[4]) is Verdict.WRONG
    assert await verdict_of(db, user, fresh[0]) is Verdict.RECOVERY


async def test_the_secret_is_encrypted_bound_to_the_user_and_rotates(db: Database) -> None:
    user, secret, codes = await enrolled(db)
    async with db.transaction(system="test") as unit:
        other = await make_user(unit, "eve")
        stored = await unit.second_factors.get(user.id)
        assert secret.encode() not in stored.secret_enc
        moved = SecondFactor(
            user_id=other.id, secret_enc=stored.secret_enc, key_id="k1", confirmed_at=now()
        )
        unit.second_factors.add(moved)
        hashes = [row.code_hash for row in await unit.recovery_codes.all()]
    assert not {code.encode() for code in codes} & set(hashes)
    with pytest.raises(InvalidData):
        await verdict_of(db, other, code_of(secret))
    async with db.transaction(system="test") as unit:
        await remove_second_factor(unit, other.id)
        assert await rotate_second_factors(unit, NEWER) == 1
        assert await rotate_second_factors(unit, NEWER) == 0
    assert await verdict_of(db, user, code_of(secret), Keyring({"k2": b"2" * 32})) is Verdict.RIGHT


async def test_nobody_enrols_over_an_authenticator_that_is_there(db: Database) -> None:
    user, _, codes = await enrolled(db)
    async with db.transaction(system="test") as unit:
        with pytest.raises(InvalidData, match="given up"):
            await begin_enrolment(unit, KEYS, user)
        await remove_second_factor(unit, user.id)
        assert not await has_second_factor(unit, user.id)
        assert await unit.recovery_codes.count() == 0
    assert await verdict_of(db, user, codes[0]) is Verdict.WRONG


async def test_tenants_see_no_authenticator_and_no_code(db: Database) -> None:
    from domain.errors import AccessDenied

    user, _, _ = await enrolled(db)
    for name in ("second_factors", "recovery_codes", "tickets", "role_permissions"):
        with pytest.raises(AccessDenied):
            async with db.read(user=user.id) as unit:
                await getattr(unit, name).all()
