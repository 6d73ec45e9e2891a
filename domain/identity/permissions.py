"""What roles may do: defaults in code, differences in a table, one answer for each question.

A permission is named ``resource:action``, such as ``trades:correct``; a field of a resource is
hidden, read-only or editable. Deny by default: what nothing allows is refused. Administrators may
everything, and no row changes that: somebody must be able to put things right.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from domain.db.unit import UnitOfWork
from domain.errors import AccessDenied, InvalidData
from domain.identity.models import Effect, Role, RolePermission
from domain.identity.repositories import RolePermissionRepository

WRITERS: Final = frozenset({Role.ADMIN, Role.MANAGER})
READERS: Final = WRITERS | {Role.ANALYST, Role.VIEWER}
"""Roles that enter the admin; traders, users and services use the library."""

FIELD: Final = "field"
"""The action of a rule about a field."""


class Action(StrEnum):
    """What may be done with the records of a table; views add their own."""

    READ = "read"
    EXPORT = "export"
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"


READING: Final = frozenset({Action.READ, Action.EXPORT})
_OPENNESS: Final = {Effect.HIDDEN: 0, Effect.READONLY: 1, Effect.EDITABLE: 2}


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a role differs from its defaults.

    Args:
        resource: What it is about.
        action: What is done; `FIELD` for a field.
        field: The field, or empty.
        effect: What then holds.
    """

    resource: str
    action: str
    field: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Permits:
    """What a role may do.

    Args:
        role: The role.
        rules: Effects by resource, action and field.
        guarded: Resources in which only administrators write by default.
        closed: What is refused whatever the role may: (resource, action).
        is_reading: Whether everything is refused but to read and to take away.
    """

    role: Role
    rules: Mapping[tuple[str, str, str], Effect] = field(default_factory=dict)
    guarded: frozenset[str] = frozenset()
    closed: frozenset[tuple[str, str]] = frozenset()
    is_reading: bool = False

    @classmethod
    def of(cls, role: Role, rules: Iterable[Rule], guarded: Iterable[str] = ()) -> "Permits":
        """Return what a role may do with these rules."""
        found = {(rule.resource, rule.action, rule.field): rule.effect for rule in rules}
        return cls(role, {} if role is Role.ADMIN else found, frozenset(guarded))

    def allows(self, resource: str, action: str) -> bool:
        """Return whether the role may do this."""
        if (resource, action) in self.closed or (self.is_reading and action not in READING):
            return False
        rule = self.rules.get((resource, action, ""))
        if rule is not None:
            return rule is Effect.ALLOW
        return self.allows_by_default(resource, action)

    def allows_by_default(self, resource: str, action: str) -> bool:
        """Return whether the code gives this to the role."""
        if self.role is Role.ADMIN:
            return True
        if self.role not in READERS:
            return False
        if action in READING:
            return True
        return self.role in WRITERS and resource not in self.guarded

    @property
    def is_narrowed(self) -> bool:
        """Whether there is a table or a field that the role may not see."""
        return any(
            effect is Effect.HIDDEN or (effect is Effect.DENY and action == Action.READ)
            for (_, action, _), effect in self.rules.items()
        )

    @property
    def writes_anything(self) -> bool:
        """Whether the role may do more than read somewhere."""
        if self.is_reading:
            return False
        if self.role in WRITERS:
            return True
        given = (key[1] for key, effect in self.rules.items() if effect is Effect.ALLOW)
        return any(action not in READING for action in given)

    def without(self, closed: Iterable[tuple[str, str]], *, is_reading: bool = False) -> "Permits":
        """Return these permits without some of them.

        Args:
            closed: What is refused: (resource, action).
            is_reading: Whether all is refused but reading.
        """
        return replace(
            self,
            closed=self.closed | frozenset(closed),
            is_reading=self.is_reading or is_reading,
        )

    def field_effect(self, resource: str, name: str) -> Effect:
        """Return how far the role gets with a field: hidden, readonly or editable."""
        return self.rules.get((resource, FIELD, name), Effect.EDITABLE)

    def fields(self, resource: str, effect: Effect) -> frozenset[str]:
        """Return the fields of a resource that a rule makes this."""
        return frozenset(
            name
            for (about, action, name), found in self.rules.items()
            if about == resource and action == FIELD and found is effect
        )

    def holds(self, rule: Rule) -> bool:
        """Return whether the role itself has what a rule gives; taking away needs nothing."""
        if rule.action == FIELD:
            own = self.field_effect(rule.resource, rule.field)
            return _OPENNESS[own] >= _OPENNESS[rule.effect]
        return rule.effect is Effect.DENY or self.allows(rule.resource, rule.action)

    def covers(self, other: "Permits", catalogue: Iterable[tuple[str, str]]) -> bool:
        """Return whether this role may everything that another one may.

        Args:
            other: The other role.
            catalogue: Every resource with its actions.
        """
        if not self.closed and self.role in {Role.ADMIN, other.role}:
            return True
        if other.role is Role.ADMIN:
            return False
        wider = any(
            not self.holds(Rule(resource, FIELD, name, other.field_effect(resource, name)))
            for (resource, action, name) in self.rules
            if action == FIELD
        )
        return not wider and all(
            self.allows(resource, action) or not other.allows(resource, action)
            for resource, action in catalogue
        )


async def set_rules(
    unit: UnitOfWork, editor: Permits, role: Role, rules: Iterable[Rule], *, guarded: Iterable[str]
) -> int:
    """Give a role these effects; return how many rows changed.

    An effect that the code gives anyway is not stored.

    Raises:
        AccessDenied: Nobody changes their own role, nor gives what they do not have.
        InvalidData: Administrators may everything; their role has no rules.
    """
    if role is Role.ADMIN:
        raise InvalidData("role", role, "be another one: administrators may everything")
    if editor.role is role:
        raise AccessDenied("nobody changes what their own role may")
    stored, changed = unit.repository(RolePermissionRepository), 0
    plain = Permits(role, guarded=frozenset(guarded))
    for rule in rules:
        if not editor.holds(rule):
            raise AccessDenied(f"nobody gives what they do not have: {rule.resource}:{rule.action}")
        key = (role, rule.resource, rule.action, rule.field)
        found = await stored.find(key)
        if _is_default(plain, rule):
            if found is not None:
                await stored.remove(found)
                changed += 1
        elif found is None:
            stored.add(
                RolePermission(
                    role=role,
                    resource=rule.resource,
                    action=rule.action,
                    field=rule.field,
                    effect=rule.effect,
                )
            )
            changed += 1
        elif found.effect is not rule.effect:
            found.effect = rule.effect
            changed += 1
    await unit.flush()
    return changed


def _is_default(plain: Permits, rule: Rule) -> bool:
    if rule.action == FIELD:
        return rule.effect is Effect.EDITABLE
    return plain.allows_by_default(rule.resource, rule.action) is (rule.effect is Effect.ALLOW)
