"""Conditions as people say them: ``price more than 100 or fees is empty``."""

from collections.abc import Mapping
from typing import Final

from admin.addressing import uuid_or_none
from admin.conditions import Condition, Group, names_in
from admin.fields import label_of
from admin.records import RecordView
from admin.translating import gettext, marked, pgettext
from domain.db.unit import Unit


async def titles_in(unit: Unit, view: RecordView, group: Group) -> Mapping[str, str]:
    """Return what the records are called that conditions compare with, by their key."""
    targets = {name: view.targets()[name] for name in names_in(group) & view.targets().keys()}
    found: dict[str, str] = {}
    for name, target in targets.items():
        values = {value for part in _flat(group) if part.name == name for value in part.values}
        keys = [key for value in values if (key := uuid_or_none(value)) is not None]
        records = await target.rows(unit).many(keys) if keys else {}
        found |= {str(key): target.title(record) for key, record in records.items()}
    return found


def _flat(group: Group) -> list[Condition]:
    return [
        condition
        for part in group.parts
        for condition in (_flat(part) if isinstance(part, Group) else [part])
    ]


_PHRASES: Final = {
    "is": marked("%(values)s", "condition"),
    "not": marked("not %(values)s", "condition"),
    "any": marked("any of %(values)s", "condition"),
    "begins": marked("begins with %(values)s", "condition"),
    "contains": marked("contains %(values)s", "condition"),
    "lt": marked("less than %(values)s", "condition"),
    "gt": marked("more than %(values)s", "condition"),
    "from": marked("at least %(values)s", "condition"),
    "to": marked("at most %(values)s", "condition"),
    "between": marked("between %(values)s", "condition"),
    "empty": marked("empty", "condition"),
    "filled": marked("not empty", "condition"),
}


def in_words(condition: Condition, references: Mapping[str, str]) -> str:
    """Return ``is not buy``: a condition as people say it."""
    phrase = pgettext("condition", _PHRASES.get(condition.operator, condition.operator))
    joint = gettext(" and ") if condition.operator == "between" else gettext(" or ")
    values = joint.join(references.get(value, value) for value in condition.values)
    return (phrase % {"values": values} if "%(values)s" in phrase else f"{phrase} {values}").strip()


def group_in_words(group: Group, references: Mapping[str, str]) -> str:
    """Return a group as people say it."""
    parts = [
        f"({group_in_words(part, references)})"
        if isinstance(part, Group)
        else f"{label_of(part.name)} {in_words(part, references)}"
        for part in group.parts
    ]
    return (gettext(" or ") if group.word == "or" else gettext(" and ")).join(parts)
