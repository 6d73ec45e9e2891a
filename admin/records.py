"""The base view of a table: which columns people see, search, filter and may change.

A view is a sqladmin `ModelView`, so its name, icon, category and menu work as people know them.
Its data path is ours: `admin.listing` reads pages, `admin.writing` writes changed fields only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqladmin import ModelView
from sqlalchemy import Column, ColumnElement, Date, Integer, Numeric, Select, Table, inspect
from sqlalchemy.orm import InstrumentedAttribute, joinedload
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from starlette.requests import Request

from admin.actions import Action
from admin.fields import Field, field_for, help_of
from admin.signing_in import staff_of
from domain.db.orm import Versioned
from domain.db.repository import Repository
from domain.db.types import ExactNumeric
from domain.db.unit import Unit

REFERENCES: dict[str, "RecordView"] = {}
"""The view of each ``schema.table``, filled as views are registered: where foreign keys lead."""


@dataclass(frozen=True, slots=True)
class Related:
    """A list that belongs to a record.

    Args:
        label: What the list is here.
        identity: The view of the list.
        key: The list's foreign key that holds the record's own key; empty when none does.
        same: Attributes that both share: what the list is narrowed to besides.
        is_shown: Whether its first lines stand on the record's page.
    """

    label: str
    identity: str
    key: str
    same: Sequence[str] = ()
    is_shown: bool = False


class RecordView(ModelView):
    """What a subclass says; everything has a safe default: nothing can be written.

    Attributes:
        path: Its part of the address.
        columns: Attributes and relations of a list, in order.
        order: The order of a list: indexed columns that are never NULL.
        search: Columns searched by their beginning; an index serves them.
        search_hint: What the search box says.
        filters: Closed vocabularies offered beside the list.
        keys: Foreign keys that a link may filter by.
        pickers: Those of them that are offered beside the list, to be found by typing.
        time_column: The instant or day that the date filter is about.
        prose: Texts that are read in the list: they wrap and are cut late.
        editable: Attributes of the edit form.
        list_editable: Those of them that are changed in the list, one at a time.
        creatable: Attributes of the create form; empty: records are not made here.
        sections: (legend, attributes) that group the fields of a form; others stand first.
        related: Lists that belong to a record.
        actions: What may be done to many records at once, besides deleting and editing.
        is_part: Whether people come here from the records it belongs to, not from the menu.
        is_deletable: Whether a record may be deleted, after a confirmation.
        is_for_administrators: Whether only administrators may write here.
        about: One sentence that says what the table is for.
        hint: A command or call that fills the table, shown while it is empty.
        hint_about: What leads to records, in words, shown while there are none.
        panel: Template of what may be done with a record, below what it says.
        head_panel: Template of the buttons beside a record's heading.
    """

    path: ClassVar[str] = ""
    columns: ClassVar[Sequence[str]] = ()
    order: ClassVar[Sequence[InstrumentedAttribute[Any]]] = ()
    is_newest_first: ClassVar[bool] = True
    search: ClassVar[Sequence[InstrumentedAttribute[Any]]] = ()
    search_hint: ClassVar[str] = ""
    filters: ClassVar[Sequence[str]] = ()
    keys: ClassVar[Sequence[str]] = ()
    pickers: ClassVar[Sequence[str]] = ()
    time_column: ClassVar[str] = ""
    prose: ClassVar[Sequence[str]] = ()
    editable: ClassVar[Sequence[str]] = ()
    list_editable: ClassVar[Sequence[str]] = ()
    creatable: ClassVar[Sequence[str]] = ()
    sections: ClassVar[Sequence[tuple[str, Sequence[str]]]] = ()
    related: ClassVar[Sequence[Related]] = ()
    actions: ClassVar[Sequence[Action]] = ()
    is_part: ClassVar[bool] = False
    is_deletable: ClassVar[bool] = False
    is_for_administrators: ClassVar[bool] = False
    about: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    hint_about: ClassVar[str] = ""
    panel: ClassVar[str] = ""
    head_panel: ClassVar[str] = ""

    can_export = True
    can_import = False

    # ── what may be done ─────────────────────────────────────────────────────────────────────

    def may_edit(self, request: Request) -> bool:
        """Return whether this member of staff may change records here."""
        return bool(self.editable) and self._may_write(request)

    def may_create(self, request: Request) -> bool:
        """Return whether this member of staff may make records here."""
        return bool(self.creatable) and self._may_write(request)

    def may_delete(self, request: Request) -> bool:
        """Return whether this member of staff may delete records here."""
        return self.is_deletable and self._may_write(request)

    def _may_write(self, request: Request) -> bool:
        staff = staff_of(request)
        return staff.may_manage_users if self.is_for_administrators else staff.may_write

    # ── what is shown ────────────────────────────────────────────────────────────────────────

    @property
    def mapper(self) -> Any:
        """The model's mapper."""
        return inspect(self.model)

    @property
    def table(self) -> Table:
        """The model's table."""
        table = self.mapper.local_table
        assert isinstance(table, Table)  # noqa: S101 - no view is registered for anything else
        return table

    def is_number(self, name: str) -> bool:
        """Return whether the values of a column are amounts or counts."""
        attribute = self.mapper.column_attrs.get(name)
        kinds = (ExactNumeric, Numeric, Integer)
        return attribute is not None and isinstance(attribute.columns[0].type, kinds)

    def is_day(self, name: str) -> bool:
        """Return whether the values of a column are days, without a time."""
        attribute = self.mapper.column_attrs.get(name)
        return attribute is not None and isinstance(attribute.columns[0].type, Date)

    def visible(self) -> Sequence[str]:
        """Return the attributes of a details page: every column that is no secret.

        What is loaded on demand only is for machines: search words, vectors.
        """
        return [
            attribute.key
            for attribute in self.mapper.column_attrs
            if not attribute.columns[0].info.get("secret") and not attribute.deferred
        ]

    def help_of(self, name: str) -> str:
        """Return what a column means."""
        attribute = self.mapper.column_attrs.get(name)
        return "" if attribute is None else help_of(attribute.columns[0])

    def rows(self, unit: Unit) -> Repository[Any]:
        """Return the model's repository."""
        return unit[self.model]

    def base(self, unit: Unit) -> Select[Any]:
        """Return the statement of a list, with the relations its columns need."""
        return self.rows(unit).query().options(*self.loading(self.columns))

    def loading(self, names: Sequence[str]) -> list[Any]:
        """Return options that load the relations among `names` with the rows: no query a row."""
        relations = self.mapper.relationships
        return [joinedload(getattr(self.model, name)) for name in names if name in relations]

    def targets(self) -> dict[str, "RecordView"]:
        """Return the view behind each foreign key that names one record: attribute to view."""
        found = {}
        for attribute in self.mapper.column_attrs:
            for key in attribute.columns[0].foreign_keys:
                view = REFERENCES.get(key.column.table.fullname)
                if view is not None and key.column.primary_key:
                    found[attribute.key] = view
        return found | self._joined(found)

    def _joined(self, found: Mapping[str, "RecordView"]) -> dict[str, "RecordView"]:
        """Return the views behind relations whose tables have no foreign key, such as ticks."""
        joined = {}
        for key, relation in self.relations().items():
            target = self.mapper.relationships[relation].mapper.local_table.fullname
            if key not in found and target in REFERENCES and key in self.mapper.column_attrs:
                joined[key] = REFERENCES[target]
        return joined

    def relations(self) -> dict[str, str]:
        """Return the relation that names the record behind each foreign key: key to relation."""
        found = {}
        for relation in self.mapper.relationships:
            pairs = relation.local_remote_pairs
            keys = [local.key for local, remote in pairs if remote.primary_key]
            if not relation.uselist and keys:
                found[keys[-1]] = relation.key
        return found

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for records that begin with `text`."""
        wanted = text.strip()
        conditions = [column.startswith(wanted, autoescape=True) for column in self.search]
        found = conditions[0]
        for condition in conditions[1:]:
            found |= condition
        return found

    def title(self, record: Any) -> str:
        """Return the name of a record."""
        has_name = "__str__" in type(record).__dict__
        return str(record) if has_name else self.name

    def heading(self, record: Any) -> str:
        """Return the heading of a record's page; its relations are loaded."""
        return self.title(record)

    def warnings(self, record: Any) -> Sequence[str]:  # noqa: ARG002 - for views that look
        """Return what a reader of a record must know first."""
        return ()

    def option(self, record: Any) -> str:
        """Return what a reference field offers; the relations of the list are loaded."""
        return self.title(record)

    def title_of(self, related: Any) -> str:
        """Return the name of a record of any view."""
        view = REFERENCES.get(inspect(type(related)).local_table.fullname)
        return view.title(related) if view else str(related)

    # ── what is changed ──────────────────────────────────────────────────────────────────────

    @property
    def is_versioned(self) -> bool:
        """Whether the model counts its edits."""
        return issubclass(self.model, Versioned)

    def fields(self, names: Sequence[str]) -> list[Field]:
        """Return the form fields of these attributes."""
        targets = self.targets()
        return [
            field_for(self._column(name), target=targets[name].identity if name in targets else "")
            for name in names
        ]

    def _column(self, name: str) -> Column[Any]:
        column: Column[Any] = self.mapper.column_attrs[name].columns[0]
        return column

    def defaults(self) -> Mapping[str, Any]:
        """Return what a new record's form starts with."""
        values = {}
        for name in self.creatable:
            default = self._column(name).default
            if isinstance(default, ScalarElementColumnDefault):
                values[name] = default.arg
        return values
