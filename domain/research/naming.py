"""From what people write to rows: whose it is, and which instrument a symbol means."""

from typing import Final
from uuid import UUID

from domain.db.unit import Unit
from domain.errors import InvalidData
from domain.market.models import Instrument, InstrumentStatus
from domain.market.repositories import InstrumentRepository

_LONGEST_NAME: Final = 100


def owner_of(unit: Unit, user_id: UUID | None) -> UUID:
    """Return whose row is written: the tenant of the unit, else the user named.

    Raises:
        InvalidData: A trusted unit named nobody, or a tenant named somebody else.
    """
    owner = unit.user_id or user_id
    if owner is None:
        raise InvalidData("user_id", None, "be given in a unit without tenant")
    if user_id not in {None, owner}:
        raise InvalidData("user_id", str(user_id), "be the unit's tenant")
    return owner


def checked_title(name: str) -> str:
    """Return the name of a list or screener without spaces around it.

    Raises:
        InvalidData: It has no or more than 100 characters, or holds NUL.
    """
    stripped = name.strip()
    if not 1 <= len(stripped) <= _LONGEST_NAME or "\x00" in stripped:
        raise InvalidData("name", name, f"have 1 to {_LONGEST_NAME} characters, no NUL")
    return stripped


async def instrument_named(unit: Unit, symbol: str) -> Instrument:
    """Return the instrument of a symbol; where several have it, the only one that still trades.

    Raises:
        InvalidData: None has it, or several that trade: name the instrument itself then.
    """
    if "\x00" in symbol:
        raise InvalidData("symbol", symbol, "hold no NUL character")
    found = await unit.repository(InstrumentRepository).by_symbol(symbol.strip())
    if not found:
        raise InvalidData("symbol", symbol, "be the symbol of a known instrument")
    active = [item for item in found if item.status is InstrumentStatus.ACTIVE] or found
    if len(active) > 1:
        raise InvalidData("symbol", symbol, "name one instrument: several markets have it")
    return active[0]
