"""Conditions as people say them: ``price more than 100 or fees is empty``."""

from collections.abc import Mapping

from admin.addressing import uuid_or_none
from admin.conditions import OPERATORS, Condition, Group, names_in
from admin.fields import label_of
from admin.records import RecordView
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


def in_words(condition: Condition, references: Mapping[str, str]) -> str:
    """Return ``is not buy``: a condition as people say it."""
    operator = OPERATORS.get(condition.operator)
    label = (operator.label if operator else condition.operator).partition(",")[0]
    label = label.partition(" (")[0].removeprefix("is ") if label != "is" else ""
    joint = " and " if condition.operator == "between" else " or "
    values = joint.join(references.get(value, value) for value in condition.values)
    return f"{label} {values}".strip()


def group_in_words(group: Group, references: Mapping[str, str]) -> str:
    """Return a group as people say it."""
    parts = [
        f"({group_in_words(part, references)})"
        if isinstance(part, Group)
        else f"{label_of(part.name)} {in_words(part, references)}"
        for part in group.parts
    ]
    return f" {group.word} ".join(parts)
