"""Writes what a form changed, and nothing else.

The form carries every field twice: the text it was rendered with and the text that came back.
Equal texts are not written, whatever the database holds by now.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import FormData

from admin.fields import Field, label_of
from admin.records import RecordView
from admin.rendering import FRACTIONS, MONEY, PRICES, UNITS
from admin.translating import gettext, said_rule
from domain.db.unit import UnitOfWork
from domain.errors import (
    AlreadyExists,
    CheckFailed,
    ConstraintViolation,
    InvalidData,
    NotFound,
    ReferenceViolation,
    RejectedValue,
    Stale,
    shorten,
)

_VERSION: Final = re.compile(r"[0-9]{1,9}")
RENDERED: Final = "was:"
"""Prefix of the hidden inputs with the texts that the form was rendered with."""


@dataclass(slots=True)
class Draft:
    """A form on its way: texts, errors, and what others changed meanwhile.

    Args:
        fields: The form's fields.
        texts: What each field shows.
        rendered: What each field showed when the form was made.
        version: The version that the form was made from.
        errors: What is wrong, by field; ``""`` is the form itself.
        theirs: Texts that somebody else has stored meanwhile, by field.
        labels: What the records are called that reference fields hold, by field.
        is_stale: Whether the record changed since the form was made.
        currency: What amounts of the record are in, as far as it is known.
        about: What the form says first.
    """

    fields: Sequence[Field]
    texts: dict[str, str] = field(default_factory=dict)
    rendered: dict[str, str] = field(default_factory=dict)
    version: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    theirs: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    is_stale: bool = False
    currency: str = ""
    about: str = ""

    @classmethod
    def of(cls, fields: Sequence[Field], record: Any) -> "Draft":
        """Return the form of a stored record."""
        texts = {item.name: item.write(getattr(record, item.name)) for item in fields}
        return cls(fields, texts, dict(texts), getattr(record, "version", None))

    @classmethod
    def empty(cls, fields: Sequence[Field], defaults: Mapping[str, Any]) -> "Draft":
        """Return the form of a new record."""
        texts = {item.name: item.write(defaults.get(item.name)) for item in fields}
        return cls(fields, texts, dict(texts))

    @classmethod
    def submitted(cls, fields: Sequence[Field], form: FormData) -> "Draft":
        """Return what came back; fields that the form does not have are ignored."""
        texts, rendered = {}, {}
        for item in fields:
            rendered[item.name] = str(form.get(RENDERED + item.name, ""))
            # A field that did not come back, as when the page was cut off, did not change.
            texts[item.name] = str(form.get(item.name, rendered[item.name]))
        return cls(fields, texts, rendered, _version(str(form.get("version", ""))))

    def parts(self, sections: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[str, list[Field]]]:
        """Return the legend and the fields of each part of a form.

        Args:
            sections: (legend, attributes); the fields that none of them names stand first.
        """
        grouped = {name for _, names in sections for name in names}
        first = [item for item in self.fields if item.name not in grouped]
        named = ((legend, frozenset(names)) for legend, names in sections)
        rest = [(legend, [i for i in self.fields if i.name in names]) for legend, names in named]
        return [("", first), *((legend, items) for legend, items in rest if items)]

    def unit_of(self, item: Field) -> str:
        """Return what stands behind a number: a currency, a percent sign, or nothing."""
        if item.name in UNITS and item.name not in FRACTIONS:
            return UNITS[item.name]
        return self.currency if item.name in MONEY or item.name in PRICES else ""

    def changed(self) -> dict[str, str]:
        """Return the texts that differ from what was rendered."""
        return {
            name: text
            for name, text in self.texts.items()
            if _normal(text) != _normal(self.rendered[name])
        }

    def values(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of `texts`, and note each one that cannot be read."""
        values = {}
        for item in self.fields:
            if item.name in texts:
                try:
                    values[item.name] = item.value_of(texts[item.name])
                except InvalidData as error:
                    self.errors[item.name] = sentence(error)
        return values

    def note(self, error: InvalidData | ConstraintViolation | RejectedValue) -> None:
        """Put an error of the domain or the database beside the field it is about."""
        names = {item.name for item in self.fields}
        if isinstance(error, InvalidData):
            place = error.field if error.field in names else ""
            self.errors[place] = sentence(error)
            return
        longest = sorted(names, key=len, reverse=True)
        place = next((name for name in longest if _is_about(error, name)), "")
        self.errors[place] = _refused(error)


async def save(unit: UnitOfWork, view: RecordView, ident: Any, draft: Draft) -> bool:
    """Write the fields of `draft` that changed; return False when the form shows errors.

    Raises:
        NotFound: The record is gone.
    """
    values = draft.values(draft.changed())
    if draft.errors or not values:
        return not draft.errors
    try:
        if view.is_versioned:
            # No version is as stale as a wrong one: nothing is overwritten unseen.
            await view.rows(unit).patch(ident, version=draft.version or 0, **values)
        elif await _is_untouched(unit, view, ident, draft):
            await view.rows(unit).patch(ident, **values)
        else:
            await _compare(unit, view, ident, draft)
            return False
    except Stale:
        await _compare(unit, view, ident, draft)
        return False
    except (InvalidData, ConstraintViolation, RejectedValue) as error:
        draft.note(error)
        return False
    return True


async def create(
    unit: UnitOfWork, view: RecordView, draft: Draft, own: Mapping[str, Any] | None = None
) -> Any:
    """Insert the record of `draft`; return it, or None when the form shows errors.

    Args:
        unit: A unit of staff.
        view: The view of the record.
        draft: The form.
        own: Values that the form does not have.
    """
    values = draft.values(draft.texts)
    if draft.errors:
        return None
    given = {name: value for name, value in values.items() if value is not None}
    given |= own or {}
    try:
        record = view.rows(unit).add(view.model(**given))
        await unit.flush()
    except (InvalidData, ConstraintViolation, RejectedValue) as error:
        draft.note(error)
        return None
    return record


async def remove(unit: UnitOfWork, view: RecordView, ident: Any, draft: Draft) -> bool:
    """Delete the record of `draft`; return False when somebody changed it since it was shown."""
    record = await view.rows(unit).lock(ident)
    if record is None:
        return True
    stored = Draft.of(draft.fields, record)
    if stored.version != draft.version or any(
        _normal(text) != _normal(draft.rendered[name]) for name, text in stored.texts.items()
    ):
        await _compare(unit, view, ident, draft)
        return False
    try:
        await view.rows(unit).remove(record)
        await unit.flush()
    except (ConstraintViolation, RejectedValue) as error:
        draft.note(error)
        return False
    return True


async def _is_untouched(unit: UnitOfWork, view: RecordView, ident: Any, draft: Draft) -> bool:
    """Lock the record; return whether the fields to be written still hold what was rendered."""
    record = await view.rows(unit).lock(ident)
    if record is None:
        raise NotFound(f"{view.name} was not found")
    stored = Draft.of(draft.fields, record)
    return all(
        _normal(stored.texts[name]) == _normal(draft.rendered[name]) for name in draft.changed()
    )


async def _compare(unit: UnitOfWork, view: RecordView, ident: Any, draft: Draft) -> None:
    stored = Draft.of(draft.fields, await view.rows(unit).get(ident))
    draft.theirs = {
        name: text
        for name, text in stored.texts.items()
        if _normal(text) != _normal(draft.rendered[name])
    }
    # What this form did not change follows the other one: saving again must not undo it.
    mine = draft.changed()
    draft.texts = {name: mine.get(name, text) for name, text in stored.texts.items()}
    draft.is_stale = True
    draft.errors[""] = gettext(
        "Somebody changed this record while you were editing. Nothing of yours was written. "
        "Compare, then save again to overwrite the fields that you changed."
    )
    # Saving again writes on top of what is shown now, knowingly.
    draft.version = stored.version
    draft.rendered = stored.texts


def _normal(text: str) -> str:
    # Browsers write every line end as CRLF.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _version(text: str) -> int | None:
    return int(text) if _VERSION.fullmatch(text) else None


def sentence(error: InvalidData) -> str:
    """Return what is wrong as a sentence; the value itself stands in the form."""
    return gettext("%(field)s %(rule)s.", field=label_of(error.field), rule=said_rule(error.rule))


def explained(error: InvalidData) -> str:
    """Return what is wrong as a sentence, with the value that was refused."""
    return gettext(
        "%(field)s %(rule)s, was %(value)s.",
        field=label_of(error.field),
        rule=said_rule(error.rule),
        value=shorten(error.value),
    )


def _is_about(error: ConstraintViolation | RejectedValue, name: str) -> bool:
    return error.column == name or name in (error.constraint or "")


def _refused(error: ConstraintViolation | RejectedValue) -> str:
    if isinstance(error, AlreadyExists):
        return gettext("There is another record with this value already.")
    if isinstance(error, ReferenceViolation):
        return gettext("This refers to a record that does not exist, or that is still in use.")
    if isinstance(error, CheckFailed) and error.constraint:
        rule = error.constraint.removeprefix(f"ck_{error.table}_").replace("_", " ")
        return gettext("The database refuses this value: it breaks the rule “%(rule)s”.", rule=rule)
    if isinstance(error, CheckFailed):
        return gettext("This must be filled in.")
    return gettext("The database cannot store this value.")
