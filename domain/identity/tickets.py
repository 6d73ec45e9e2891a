"""Tokens that are good once, for one purpose: second steps of logins, password resets.

As with sessions the table holds the SHA-256 of 256 random bits.
"""

import secrets
from datetime import timedelta
from typing import Final

from domain.clock import now
from domain.db.unit import UnitOfWork
from domain.identity.models import Ticket, TicketPurpose, User
from domain.identity.repositories import TicketRepository, UserRepository
from domain.identity.signing_in import set_password, token_hash

LIVES: Final = {
    TicketPurpose.SECOND_STEP: timedelta(minutes=5),
    TicketPurpose.PASSWORD_RESET: timedelta(hours=1),
}


async def issue_ticket(unit: UnitOfWork, user: User, purpose: TicketPurpose, *, by: str) -> str:
    """Return a new token for `user`; earlier ones for the same purpose end.

    Args:
        unit: A staff or system transaction.
        user: Whom it is for.
        purpose: What it is for.
        by: Who made it: a member of staff, or the page that the user asked on.
    """
    tickets = unit.repository(TicketRepository)
    token, instant = secrets.token_urlsafe(32), now()
    await tickets.withdraw(user.id, at=instant, purpose=purpose)
    tickets.add(
        Ticket(
            user_id=user.id,
            purpose=purpose,
            token_hash=token_hash(token),
            issued_at=instant,
            expires_at=instant + LIVES[purpose],
            issued_by=by,
        )
    )
    await unit.flush()
    return token


async def holder_of(unit: UnitOfWork, token: str, purpose: TicketPurpose) -> User | None:
    """Return the active user of a live token, which stays good; None when it is none."""
    ticket = await _live(unit, token, purpose)
    return None if ticket is None else await _active(unit, ticket)


async def use_ticket(unit: UnitOfWork, token: str, purpose: TicketPurpose) -> User | None:
    """Use up a token; return its active user, None when it is not good (any more)."""
    ticket = await _live(unit, token, purpose)
    if ticket is None:
        return None
    ticket.used_at = now()
    return await _active(unit, ticket)


async def reset_password(unit: UnitOfWork, token: str, password: str) -> User | None:
    """Give the holder of a reset token the password; None when the token is not good.

    Raises:
        InvalidData: The password is too short or too long; once the transaction is rolled back
            the token is good again.
    """
    user = await use_ticket(unit, token, TicketPurpose.PASSWORD_RESET)
    if user is not None:
        await set_password(unit, user, password)
    return user


async def _live(unit: UnitOfWork, token: str, purpose: TicketPurpose) -> Ticket | None:
    ticket = await unit.repository(TicketRepository).locked(token_hash(token), purpose)
    if ticket is None or ticket.used_at is not None or ticket.expires_at <= now():
        return None
    return ticket


async def _active(unit: UnitOfWork, ticket: Ticket) -> User | None:
    user = await unit.repository(UserRepository).find(ticket.user_id)
    return user if user is not None and user.is_active else None
