"""Loads frozen structs instead of entities: only the columns that an answer has.

A field of type `msgspec.Raw` carries JSON as it is stored, every digit of it, for whoever wants to
decode it.
"""

from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Select, Text, cast, select

from domain.db.orm import Base
from domain.db.unit import Unit

S = TypeVar("S", bound=msgspec.Struct)


def select_as(kind: type[S], *models: type[Base]) -> Select[*tuple[Any, ...]]:
    """Return the SELECT of the columns that `kind` has fields for, in their order.

    Args:
        kind: A struct whose fields have the names of attributes of the models.
        *models: The models; the first that has an attribute gives it.
    """
    columns = (
        next(getattr(model, name) for model in models if hasattr(model, name))
        for name in kind.__struct_fields__
    )
    raw = _raw_fields(kind)
    return select(*(cast(col, Text) if at in raw else col for at, col in enumerate(columns)))


async def first_as(unit: Unit, kind: type[S], statement: Select[*tuple[Any, ...]]) -> S | None:
    """Return the first row of `statement` as a struct, or None."""
    found = await all_as(unit, kind, statement.limit(1))
    return found[0] if found else None


async def all_as(unit: Unit, kind: type[S], statement: Select[*tuple[Any, ...]]) -> tuple[S, ...]:
    """Return the rows of `statement` as structs."""
    raw = _raw_fields(kind)
    return tuple(
        kind(*(_kept(value, is_raw=at in raw) for at, value in enumerate(row)))
        for row in await unit.session.execute(statement)
    )


def _kept(value: Any, *, is_raw: bool) -> Any:
    if is_raw:
        return msgspec.Raw(value.encode())
    return tuple(value) if isinstance(value, list) else value


@cache
def _raw_fields(kind: type[msgspec.Struct]) -> frozenset[int]:
    """Return the places of the fields that carry JSON as it is."""
    fields = msgspec.structs.fields(kind)
    return frozenset(at for at, field in enumerate(fields) if field.type is msgspec.Raw)
