"""Children on the form of the record they belong to: each is written by its own key.

A child that is not in the form is not touched: what arrived meanwhile stays. Each child has its
draft, so only what was changed is written, and a stale one is refused like any other form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request

from admin.addressing import identifier, parsed_key
from admin.looking_up import labels_of
from admin.records import Inline, RecordView, view_named
from admin.translating import gettext
from admin.writing import Draft, create, remove, save
from domain.db.unit import Unit, UnitOfWork
from domain.errors import NotFound

_SHOWN: Final = 50
_MOST_NEW: Final = 50
_NEW: Final = "new-"
_GAP: Final = "|"
"""Between the table, the key and the field in the name of an input."""


@dataclass(slots=True)
class Child:
    """One line of an inline.

    Args:
        prefix: What the names of its inputs begin with.
        title: What it is called; empty for a new one.
        draft: Its fields.
        key: Its key as it stands in addresses; empty for a new one.
        is_removed: Whether it is to be deleted.
    """

    prefix: str
    title: str
    draft: Draft
    key: str = ""
    is_removed: bool = False


@dataclass(slots=True)
class Group:
    """The children of one table.

    Args:
        inline: What the parent's view says of them.
        view: Their view.
        may_add: Whether this member of staff may make some.
        may_remove: Whether this member of staff may delete some.
        children: The lines.
        is_all: Whether these are all that there are.
    """

    inline: Inline
    view: RecordView
    may_add: bool
    may_remove: bool
    children: list[Child] = field(default_factory=list)
    is_all: bool = True

    @property
    def blank(self) -> Child:
        """A line for one more; the page numbers it."""
        return _blank(self, "N")

    @property
    def is_wrong(self) -> bool:
        """Whether a line shows an error."""
        return any(child.draft.errors for child in self.children)


def groups_of(view: RecordView, request: Request) -> list[Group]:
    """Return the inlines that this member of staff may edit, without children."""
    groups = []
    for inline in view.inlines:
        child = view_named(inline.identity)
        if child is None:
            continue
        if child.may_edit(request) or child.may_create(request):
            may_add, may_remove = child.may_create(request), child.may_delete(request)
            groups.append(Group(inline, child, may_add, may_remove))
    return groups


async def stored(unit: Unit, groups: Sequence[Group], parent: Any) -> None:
    """Fill `groups` with the first fifty children of `parent`, and a line for a new one."""
    for group in groups:
        statement = group.view.base(unit).where(*_belongs(group, parent))
        ordered = statement.order_by(*group.view.order).limit(_SHOWN + 1)
        records = await group.view.rows(unit).all(ordered)
        group.is_all = len(records) <= _SHOWN
        group.children = [_child(group, record) for record in records[:_SHOWN]]
        if group.may_add:
            group.children.append(_blank(group, "0"))
        await _label(unit, group)


def submitted(groups: Sequence[Group], form: FormData) -> None:
    """Fill `groups` with the lines that came back."""
    for group in groups:
        for key, values in _lines(group, form).items():
            is_new = key.startswith(_NEW)
            fields = _new_fields(group) if is_new else _fields(group)
            draft = Draft.submitted(fields, FormData(values))
            prefix = f"{group.inline.identity}{_GAP}{key}{_GAP}"
            title, own = values.get("title", ""), "" if is_new else key
            group.children.append(Child(prefix, title, draft, own, "remove" in values))


async def save_children(unit: UnitOfWork, groups: Sequence[Group], parent: Any) -> bool:
    """Write what changed; return False when a line shows an error."""
    outcomes = [
        await _save(unit, group, child, parent)
        for group in groups
        for child in group.children
        if child.key or child.draft.changed()
    ]
    for group in groups:
        await _label(unit, group)
    return all(outcomes)


def is_changed(groups: Sequence[Group]) -> bool:
    """Return whether any line was changed, added or removed."""
    children = [child for group in groups for child in group.children]
    return any(child.is_removed or child.draft.changed() for child in children)


async def _save(unit: UnitOfWork, group: Group, child: Child, parent: Any) -> bool:
    if not child.key:
        return await _add(unit, group, child, parent)
    key = parsed_key(group.view, child.key)
    if not child.is_removed and not child.draft.changed():
        return True
    try:
        record = await group.view.rows(unit).get(key)
        if any(getattr(record, name) != value for name, value in _own(group, parent).items()):
            raise NotFound(f"{group.view.name} was not found")  # noqa: TRY301 - as if it were gone
        if child.is_removed and group.may_remove:
            return await remove(unit, group.view, key, child.draft)
        return await save(unit, group.view, key, child.draft)
    except NotFound:
        child.draft.errors[""] = gettext("It is not here any more: somebody removed it meanwhile.")
        return child.is_removed


async def _add(unit: UnitOfWork, group: Group, child: Child, parent: Any) -> bool:
    if not group.may_add or child.is_removed:
        return True
    return await create(unit, group.view, child.draft, _own(group, parent)) is not None


def _own(group: Group, parent: Any) -> Mapping[str, Any]:
    """Return what children share with `parent`."""
    shared = {name: getattr(parent, name) for name in group.inline.same}
    return {group.inline.key: parent.id, **shared}


def _belongs(group: Group, parent: Any) -> list[Any]:
    model = group.view.model
    return [getattr(model, name) == value for name, value in _own(group, parent).items()]


def _child(group: Group, record: Any) -> Child:
    key = identifier(group.view, record)
    prefix = f"{group.inline.identity}{_GAP}{key}{_GAP}"
    return Child(prefix, group.view.option(record), Draft.of(_fields(group), record), key)


def _blank(group: Group, number: str) -> Child:
    draft = Draft.empty(_new_fields(group), group.view.defaults())
    return Child(f"{group.inline.identity}{_GAP}{_NEW}{number}{_GAP}", "", draft)


def _fields(group: Group) -> list[Any]:
    return group.view.fields(_without_own(group, group.view.editable))


def _new_fields(group: Group) -> list[Any]:
    return group.view.fields(_without_own(group, group.view.creatable))


def _without_own(group: Group, names: Sequence[str]) -> list[str]:
    own = {group.inline.key, *group.inline.same}
    return [name for name in names if name not in own]


def _lines(group: Group, form: FormData) -> dict[str, dict[str, str]]:
    """Return the inputs of each line by its key; at most so many as a page can have."""
    lines: dict[str, dict[str, str]] = {}
    for name, value in form.multi_items():
        identity, _, rest = name.partition(_GAP)
        key, gap, attribute = rest.rpartition(_GAP)
        if identity == group.inline.identity and gap and isinstance(value, str):
            lines.setdefault(key, {})[attribute] = value
    known = [key for key in lines if not key.startswith(_NEW)][: 2 * _SHOWN]
    new = [key for key in lines if key.startswith(_NEW)][:_MOST_NEW]
    return {key: lines[key] for key in (*known, *new)}


async def _label(unit: Unit, group: Group) -> None:
    for child in group.children:
        child.draft.labels = await labels_of(unit, child.draft.fields, child.draft.texts)
