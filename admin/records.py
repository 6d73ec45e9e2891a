"""The base view of a table: which columns people see, search, filter and may change.

A view is a sqladmin `ModelView`, so its name, icon, category and menu work as people know them.
Its data path is ours: `admin.listing` reads pages, `admin.writing` writes changed fields only.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Any, ClassVar, Final

from sqladmin import ModelView
from sqlalchemy import Column, ColumnElement, Date, Integer, Numeric, Select, Table, inspect
from sqlalchemy.orm import InstrumentedAttribute, joinedload
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from starlette.requests import Request

from admin.actions import BulkAction
from admin.fields import Field, field_for, help_of
from admin.permits import DOTS, AsSeen, Masked, named, sees_all_of
from admin.signing_in import staff_of
from admin.translating import gettext
from domain.audit.policies import Kept, history_of
from domain.database import Reader
from domain.db.orm import Base, Versioned
from domain.db.repository import Repository
from domain.db.types import ExactNumeric
from domain.db.unit import Unit
from domain.identity.models import Effect
from domain.identity.permissions import Action, Permits

REFERENCES: AsSeen["RecordView"] = AsSeen()
"""The view of each ``schema.table``, filled as views are registered: where foreign keys lead."""

_LISTS_OF_NAMES: Final = (
    "columns", "filters", "keys", "pickers", "prose", "editable", "creatable", "list_editable",
)  # fmt: skip


_BY_ACTION: Final = (
    ("editable", Action.EDIT),
    ("list_editable", Action.EDIT),
    ("creatable", Action.CREATE),
)
_WRITING: Final = (Action.CREATE, Action.EDIT, Action.DELETE)


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


@dataclass(frozen=True, slots=True)
class Inline:
    """Children that are edited on the form of the record they belong to.

    Args:
        label: What they are here.
        identity: Their view.
        key: Their foreign key that holds the record's own key.
        same: Attributes that both share, such as the owner.
    """

    label: str
    identity: str
    key: str
    same: Sequence[str] = ()


class RecordView(ModelView):
    """What a subclass says; everything has a safe default: nothing can be written.

    Attributes:
        path: Its part of the address.
        columns: Attributes and relations of a list, in order.
        order: The order of a list: indexed columns that are never NULL.
        search: Columns searched by their beginning; an index serves them.
        search_hint: What the search box says.
        is_found_by_name: Whether the search over everything looks here too.
        filters: Closed vocabularies offered beside the list.
        keys: Foreign keys that a link may filter by.
        pickers: Those of them that are offered beside the list, to be found by typing.
        time_column: The instant or day that the date filter is about.
        prose: Texts that are read in the list: they wrap and are cut late.
        editable: Attributes of the edit form.
        list_editable: Those of them that are changed in the list, one at a time.
        creatable: Attributes of the create form; empty: records are not made here.
        sections: (legend, attributes) that group the fields of a form; others stand first.
        inlines: Children that are edited on the record's form.
        related: Lists that belong to a record.
        bulk_actions: What may be done to many records at once, besides deleting and editing.
        is_part: Whether people come here from the records it belongs to, not from the menu.
        is_deletable: Whether a record may be deleted, after a confirmation.
        is_for_administrators: Whether only administrators may write here.
        about: One sentence that says what the table is for.
        hint: A command or call that fills the table, shown while it is empty.
        hint_about: What leads to records, in words, shown while there are none.
        holds_everything: Whether its rows hold values of any table, as a log does.
        board_shows: Views whose records the board shows; it is not there for who may not see them.
        powers: What else may be done with records: permissions besides those of every table.
        panel: Template of what may be done with a record, below what it says.
        head_panel: Template of the buttons beside a record's heading.
        board: Template of the figures and charts that a record's page begins with.
    """

    path: ClassVar[str] = ""
    columns: ClassVar[Sequence[str]] = ()
    order: ClassVar[Sequence[InstrumentedAttribute[Any]]] = ()
    is_newest_first: ClassVar[bool] = True
    search: ClassVar[Sequence[InstrumentedAttribute[Any]]] = ()
    search_hint: ClassVar[str] = ""
    is_found_by_name: ClassVar[bool] = False
    filters: ClassVar[Sequence[str]] = ()
    keys: ClassVar[Sequence[str]] = ()
    pickers: ClassVar[Sequence[str]] = ()
    time_column: ClassVar[str] = ""
    prose: ClassVar[Sequence[str]] = ()
    editable: ClassVar[Sequence[str]] = ()
    list_editable: ClassVar[Sequence[str]] = ()
    creatable: ClassVar[Sequence[str]] = ()
    sections: ClassVar[Sequence[tuple[str, Sequence[str]]]] = ()
    inlines: ClassVar[Sequence[Inline]] = ()
    related: ClassVar[Sequence[Related]] = ()
    bulk_actions: ClassVar[Sequence[BulkAction]] = ()
    is_part: ClassVar[bool] = False
    is_deletable: ClassVar[bool] = False
    is_for_administrators: ClassVar[bool] = False
    about: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    hint_about: ClassVar[str] = ""
    holds_everything: ClassVar[bool] = False
    board_shows: ClassVar[Sequence[str]] = ()
    powers: ClassVar[Sequence[str]] = ()
    panel: ClassVar[str] = ""
    head_panel: ClassVar[str] = ""
    board: ClassVar[str] = ""

    can_export = True
    can_import = False

    # ── what may be done ─────────────────────────────────────────────────────────────────────

    hidden: frozenset[str] = frozenset()
    """Attributes and relations that whoever asks may not see."""

    readonly: frozenset[str] = frozenset()
    """Attributes that whoever asks may not change."""

    def may_read(self, request: Request) -> bool:
        """Return whether this member of staff may see records here."""
        return self.is_open_to(staff_of(request).permits)

    def is_open_to(self, permits: Permits) -> bool:
        """Return whether a role may see records here.

        What holds values of every table is closed to a role from which anything is kept.
        """
        is_kept_out = self.holds_everything and permits.is_narrowed
        return permits.allows(self.identity, Action.READ) and not is_kept_out

    def may_export(self, request: Request) -> bool:
        """Return whether this member of staff may take lists away."""
        return staff_of(request).may(self.identity, Action.EXPORT)

    def may_edit(self, request: Request) -> bool:
        """Return whether this member of staff may change records here."""
        return bool(self.editable) and staff_of(request).may(self.identity, Action.EDIT)

    def may_create(self, request: Request) -> bool:
        """Return whether this member of staff may make records here."""
        return bool(self.creatable) and staff_of(request).may(self.identity, Action.CREATE)

    def may_delete(self, request: Request) -> bool:
        """Return whether this member of staff may delete records here."""
        return self.is_deletable and staff_of(request).may(self.identity, Action.DELETE)

    def actions(self) -> Sequence[str]:
        """Return what may be done here at all: the permissions that roles may be given."""
        offered: list[str] = [Action.READ, Action.EXPORT]
        makes = bool(self.creatable) or "create" in self.powers
        written = ((makes, Action.CREATE), (self.editable, Action.EDIT))
        offered += [action for is_offered, action in written if is_offered]
        offered += [Action.DELETE] if self.is_deletable else []
        return [*offered, *(power for power in self.powers if power not in offered)]

    def seen_by(self, permits: Permits) -> "RecordView":
        """Return this view as a role sees it: what is hidden is in none of its lists."""
        hidden = permits.fields(self.identity, Effect.HIDDEN) - self._keys()
        readonly = permits.fields(self.identity, Effect.READONLY)
        denied = {action for action in _WRITING if not permits.allows(self.identity, action)}
        sees_board = sees_all_of(permits, (self.identity, *self.board_shows))
        if not hidden and not readonly and not denied and sees_board:
            return self
        seen = copy(self)
        gone = hidden | {relation for key, relation in self.relations().items() if key in hidden}
        seen.hidden, seen.readonly = gone, readonly
        vars(seen)["board"] = self.board if sees_board else ""
        for name in _LISTS_OF_NAMES:
            kept = tuple(item for item in getattr(self, name) if item not in gone)
            vars(seen)[name] = kept
        for name, action in _BY_ACTION:
            kept = tuple(item for item in getattr(seen, name) if item not in readonly)
            vars(seen)[name] = () if action in denied else kept
        vars(seen)["is_deletable"] = self.is_deletable and Action.DELETE not in denied
        if hidden and not self._searches_only({c.key for c in self.search} - hidden):
            vars(seen)["search"], vars(seen)["is_found_by_name"] = (), False
        vars(seen)["time_column"] = "" if self.time_column in hidden else self.time_column
        if any(column.key in hidden for column in self.order):
            # An order that nobody sees would still tell, and its cursors hold the values.
            vars(seen)["order"] = tuple(getattr(self.model, name) for name in sorted(self._keys()))
        vars(seen)["visible"] = lambda: [name for name in self.visible() if name not in hidden]
        if hidden:
            for name in ("title", "heading", "option"):
                vars(seen)[name] = partial(_named, seen, getattr(self, name))
        return seen

    def _searches_only(self, seen: set[str]) -> bool:
        """Return whether the search looks at nothing else; a view's own may look anywhere."""
        is_plain = type(self).search_condition is RecordView.search_condition
        return is_plain and seen == {column.key for column in self.search}

    def is_key(self, name: str) -> bool:
        """Return whether an attribute is part of the key that addresses a record."""
        return name in self._keys()

    def _keys(self) -> frozenset[str]:
        mapper = self.mapper
        return frozenset(mapper.get_property_by_column(c).key for c in mapper.primary_key)

    # ── what is shown ────────────────────────────────────────────────────────────────────────

    @property
    def has_history(self) -> bool:
        """Whether changes of its records are kept."""
        history = history_of(self.table)
        return history is not None and history.kept is not Kept.NOTHING

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
        behind = (
            (key, REFERENCES.get(table)) for key, table in _tables_behind(self.mapper).items()
        )
        return {key: view for key, view in behind if view is not None and key not in self.hidden}

    def relations(self) -> Mapping[str, str]:
        """Return the relation that names the record behind each foreign key: key to relation."""
        return _relations(self.mapper)

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
        has_name = isinstance(record, Masked) or "__str__" in type(record).__dict__
        return str(record) if has_name else gettext(self.name)

    def currency_of(self, record: Any) -> str:
        """Return the currency that the amounts of a record are in; empty where none is known."""
        names = ("currency", "quote_currency", "base_currency")
        return next((value for name in names if (value := getattr(record, name, None))), "")

    def heading(self, record: Any) -> str:
        """Return the heading of a record's page; its relations are loaded."""
        return self.title(record)

    def warnings(self, record: Any) -> Sequence[str]:  # noqa: ARG002 - for views that look
        """Return what a reader of a record must know first."""
        return ()

    async def board_of(self, unit: Reader, record: Any) -> Mapping[str, Any]:  # noqa: ARG002 - for views that look
        """Return what the template `board` shows; the record's relations are loaded."""
        return {}

    def option(self, record: Any) -> str:
        """Return what a reference field offers; the relations of the list are loaded."""
        return self.title(record)

    def title_of(self, related: Any) -> str:
        """Return the name of a record of any view."""
        view = REFERENCES.get(inspect(type(related)).local_table.fullname)
        return view.title(related) if view else DOTS

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


def view_named(identity: str) -> RecordView | None:
    """Return the view of this identity, if whoever asks may see it."""
    found = next((view for view in REFERENCES.everything() if view.identity == identity), None)
    return None if found is None else REFERENCES.get(found.table.fullname)


@cache
def _relations(mapper: Any) -> Mapping[str, str]:
    """Return the relation that names the record behind each foreign key: key to relation."""
    found = {}
    for relation in mapper.relationships:
        pairs = relation.local_remote_pairs
        keys = [local.key for local, remote in pairs if remote.primary_key]
        if not relation.uselist and keys:
            found[keys[-1]] = relation.key
    return MappingProxyType(found)


@cache
def _tables_behind(mapper: Any) -> Mapping[str, str]:
    """Return the table whose record each attribute names, by foreign key or by relation alone."""
    found = {}
    for attribute in mapper.column_attrs:
        for key in attribute.columns[0].foreign_keys:
            if key.column.primary_key:
                found[attribute.key] = key.column.table.fullname
    for key, relation in _relations(mapper).items():
        # Ticks and bars have relations without a foreign key.
        if key in mapper.column_attrs:
            target = mapper.relationships[relation].mapper.local_table.fullname
            found.setdefault(key, target)
    return MappingProxyType(found)


def mask(value: Any) -> Any:
    """Return what whoever asks may see of a record that another one leads to."""
    if not isinstance(value, Base):
        return value
    mapper: Any = inspect(type(value))
    view = REFERENCES.get(mapper.local_table.fullname)
    if view is None:
        return Masked(value, frozenset(mapper.column_attrs.keys()), mask)
    return Masked(value, view.hidden, mask) if view.hidden else value


def _named(view: RecordView, write: Callable[[Any], str], record: Any) -> str:
    return named(write, Masked(record, view.hidden, mask), view.name)
