"""Writes what a form changed, and nothing else.

The form carries every field twice: the text it was rendered with and the text that came back.
Equal texts are not written, whatever the database holds by now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import FormData

from admin.fields import Field, label_of
from admin.records import RecordView
from domain.db.unit import UnitOfWork
from domain.errors import (
    AlreadyExists,
    CheckFailed,
    ConstraintViolation,
    InvalidData,
    ReferenceViolation,
    Stale,
)

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
    """

    fields: Sequence[Field]
    texts: dict[str, str] = field(default_factory=dict)
    rendered: dict[str, str] = field(default_factory=dict)
    version: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    theirs: dict[str, str] = field(default_factory=dict)

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
            texts[item.name] = str(form.get(item.name, ""))
            rendered[item.name] = str(form.get(RENDERED + item.name, ""))
        version = str(form.get("version", ""))
        return cls(fields, texts, rendered, int(version) if version.isdigit() else None)

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
                    self.errors[item.name] = _sentence(error)
        return values

    def note(self, error: InvalidData | ConstraintViolation) -> None:
        """Put an error of the domain or the database beside the field it is about."""
        names = {item.name for item in self.fields}
        if isinstance(error, InvalidData):
            place = error.field if error.field in names else ""
            self.errors[place] = _sentence(error)
            return
        place = next((name for name in sorted(names, key=len) if _is_about(error, name)), "")
        self.errors[place] = _explained(error)


async def save(unit: UnitOfWork, view: RecordView, ident: Any, draft: Draft) -> bool:
    """Write the fields of `draft` that changed; return False when the form shows errors.

    Raises:
        NotFound: The record is gone.
    """
    values = draft.values(draft.changed())
    if draft.errors or not values:
        return not draft.errors
    version = draft.version if view.is_versioned else None
    try:
        await unit[view.model].patch(ident, version=version, **values)
    except Stale:
        await _compare(unit, view, ident, draft)
        return False
    except (InvalidData, ConstraintViolation) as error:
        draft.note(error)
        return False
    return True


async def create(unit: UnitOfWork, view: RecordView, draft: Draft) -> Any:
    """Insert the record of `draft`; return it, or None when the form shows errors."""
    values = draft.values(draft.texts)
    if draft.errors:
        return None
    given = {name: value for name, value in values.items() if value is not None}
    try:
        record = unit[view.model].add(view.model(**given))
        await unit.flush()
    except (InvalidData, ConstraintViolation) as error:
        draft.note(error)
        return None
    return record


async def _compare(unit: UnitOfWork, view: RecordView, ident: Any, draft: Draft) -> None:
    stored = Draft.of(draft.fields, await unit[view.model].get(ident))
    draft.theirs = {
        name: text for name, text in stored.texts.items() if text != draft.rendered[name]
    }
    draft.errors[""] = (
        "Somebody changed this record while you were editing. Nothing of yours was written. "
        "Compare, then save again to overwrite the fields that you changed."
    )
    # Saving again writes on top of what is shown now, knowingly.
    draft.version = stored.version
    draft.rendered = stored.texts


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n")


def _sentence(error: InvalidData) -> str:
    return f"{label_of(error.field)} must {error.rule}."


def _is_about(error: ConstraintViolation, name: str) -> bool:
    return error.column == name or name in (error.constraint or "")


def _explained(error: ConstraintViolation) -> str:
    if isinstance(error, AlreadyExists):
        return "There is another record with this value already."
    if isinstance(error, ReferenceViolation):
        return "This refers to a record that does not exist, or that is still in use."
    if isinstance(error, CheckFailed) and error.constraint:
        rule = error.constraint.split("_", 2)[-1].replace("_", " ")
        return f"The database refuses this value: {rule}."
    return "The database refuses this value."
