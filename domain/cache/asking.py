"""Answers named by words, as on a command line: ``portfolio_ledger user_id=… portfolio_id=…``."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from domain.cache.declaring import DECLARED, USER, Audience, CachedRead
from domain.cache.keys import Part
from domain.errors import InvalidData

_NOTHING = "~"
_RULES = {UUID: "be a UUID", date: "be a day such as 2026-06-19", bytes: "be hexadecimal"}


def answer_named(name: str) -> CachedRead[Any, Any]:
    """Return the declared answer called `name`.

    Raises:
        InvalidData: There is none; the error names those that there are.
    """
    if name not in DECLARED:
        raise InvalidData("answer", name, f"be one of {', '.join(sorted(DECLARED))}")
    return DECLARED[name]


def parameters_in(read: CachedRead[Any, Any], words: Sequence[str]) -> dict[str, Part]:
    """Return parameters given as ``name=value``; ``~`` is nothing.

    Raises:
        InvalidData: A word is no assignment, a parameter is unknown, or a value is of another type.
    """
    kinds = _kinds(read)
    given: dict[str, Part] = {}
    for word in words:
        name, assigned, value = word.partition("=")
        if not assigned or name not in kinds:
            raise InvalidData(read.name, word, f"be given as {_usage(read)}")
        given[name] = _part(name, value, kinds[name])
    return given


def _kinds(read: CachedRead[Any, Any]) -> Mapping[str, Any]:
    hints = get_type_hints(read.load)
    kinds = {name: hints[name] for name in read.parameters if name in hints}
    return {USER: UUID} | kinds if read.audience is Audience.OWNER else kinds


def _usage(read: CachedRead[Any, Any]) -> str:
    return " ".join(f"{name}=…" for name in read.parameters) or "nothing: it has no parameters"


def _part(name: str, value: str, kind: Any) -> Part:
    kinds = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    if value == _NOTHING and type(None) in kinds:
        return None
    for choice in kinds:
        if choice is str:
            return value
        with suppress(ValueError):
            return _converted(value, choice)
    raise InvalidData(name, value, next((_RULES[kind] for kind in kinds if kind in _RULES), "fit"))


def _converted(value: str, kind: Any) -> Part:
    if kind is date:
        return date.fromisoformat(value)
    if kind is bytes:
        return bytes.fromhex(value)
    if kind is UUID:
        return UUID(value)
    if kind is int:
        return int(value)
    raise ValueError(kind)
