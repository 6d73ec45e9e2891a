"""How often people may try to get in: the rates; `domain.cache.throttling` counts.

Source: the rates of PyPI's warehouse.
"""

from typing import Final

from starlette.requests import Request

from domain.cache.throttling import Claim, Rate

_MINUTES: Final = 60
_DAY: Final = 86_400
_LONGEST_NAME: Final = 60

ACCOUNT: Final = Rate("login-account", 10, 5 * _MINUTES)
ADDRESS: Final = Rate("login-address", 10, 5 * _MINUTES)
ANYBODY: Final = Rate("login-anybody", 1_000, 5 * _MINUTES)
SECOND_STEP: Final = Rate("second-step", 5, 5 * _MINUTES)
RESET_ACCOUNT: Final = Rate("reset-account", 5, _DAY)
RESET_ADDRESS: Final = Rate("reset-address", 20, _DAY)


def address_of(request: Request) -> str:
    """Return where a request comes from; a trusted proxy has said so."""
    return request.client.host if request.client else ""


def account_claim(username: str, rate: Rate = ACCOUNT) -> Claim:
    """Return the claim of an account, known or unknown."""
    return Claim(rate, username.strip().lower()[:_LONGEST_NAME])


def login_claims(request: Request, username: str) -> tuple[Claim, Claim, Claim]:
    """Return what an attempt to log in counts for: the account, the address, everybody."""
    return (
        account_claim(username),
        Claim(ADDRESS, address_of(request)),
        Claim(ANYBODY, "everybody"),
    )
