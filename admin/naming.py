"""The names of the records behind foreign keys: one statement a table, never one a row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from admin.records import RecordView
from admin.rendering import Cell
from domain.db.unit import Unit

_ID_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Names:
    """What the records behind foreign keys are called.

    Args:
        targets: The view behind each foreign key attribute.
        found: The name of each record, by attribute and key.
    """

    targets: Mapping[str, RecordView]
    found: Mapping[tuple[str, Any], str]

    def __contains__(self, item: tuple[str, Any]) -> bool:
        try:
            return item in self.found
        except TypeError:  # JSON and arrays have no hash, and are no keys
            return False

    def text(self, name: str, key: Any) -> str:
        """Return the name of a record, or the end of its key when it is not there."""
        shown = str(key)[-_ID_SHOWN:] if isinstance(key, UUID) else str(key)
        return self.found.get((name, key), shown)

    def cell(self, name: str, key: Any, root: str, *, text: str = "") -> Cell:
        """Return a link to the record behind the attribute `name`."""
        view = self.targets.get(name)
        link = f"{root}/{view.identity}/details/{key}" if view else ""
        return Cell(text or self.text(name, key), "name", link=link)


async def names_of(
    unit: Unit, view: RecordView, records: Sequence[Any], attributes: Iterable[str]
) -> Names:
    """Return the names behind the foreign keys among `attributes` of `records`.

    Args:
        unit: Any unit.
        view: The view of the records.
        records: Records of the view, or mappings from attribute to key.
        attributes: Attributes to look at; those that are no foreign keys are left out.
    """
    targets = view.targets()
    found: dict[tuple[str, Any], str] = {}
    for name in attributes:
        if name in targets:
            target = targets[name]
            keys = {_value(record, name) for record in records} - {None}
            for key, record in (await target.rows(unit).many(keys)).items() if keys else ():
                found[name, key] = target.title(record)
    return Names(targets, found)


def _value(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name)
