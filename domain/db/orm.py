"""The declarative base, the column vocabulary and the mixins that every area's models use."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    DefaultClause,
    ForeignKey,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    func,
    text,
)
from sqlalchemy import inspect as inspect_instance
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    declared_attr,
    mapped_column,
)
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from domain.clock import now
from domain.db.types import ClosedText, ExactNumeric, UtcDateTime, checks_of

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Price = Annotated[Decimal, mapped_column(ExactNumeric())]
Quantity = Annotated[Decimal, mapped_column(ExactNumeric())]
Amount = Annotated[Decimal, mapped_column(ExactNumeric())]
Ratio = Annotated[Decimal, mapped_column(ExactNumeric())]
Instant = Annotated[datetime, mapped_column(UtcDateTime())]
Json = Annotated[dict[str, Any], mapped_column(JSONB)]


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False, repr=False):
    """Root of all models: keyword-only constructors that type checkers understand."""

    __abstract__ = True
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own class attribute
        Decimal: ExactNumeric(),
        datetime: UtcDateTime(),
        str: Text(),
        dict[str, Any]: JSONB(),
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        table = cls.__dict__.get("__table__")
        if isinstance(table, Table):
            _add_type_checks(table)
            _add_server_defaults(cls, table)
            _coerce_words(cls, table)

    def __repr__(self) -> str:
        """Name the class and the primary key; never a value that may be secret or expired."""
        state = inspect_instance(self)
        key = state.identity or "transient"
        return f"<{type(self).__name__} {key}>"


def _add_type_checks(table: Table) -> None:
    for column in table.columns:
        if found := checks_of(column):
            name, condition = found
            table.append_constraint(CheckConstraint(condition, name=name))


def _add_server_defaults(model: type[Base], table: Table) -> None:
    # A default that only Python knows is lost on COPY, bulk SQL and psql.
    fields = getattr(model, "__dataclass_fields__", {})
    for column in table.columns:
        field = fields.get(column.name)
        default = column.default
        if column.server_default is not None or column.nullable:
            continue
        if isinstance(default, ScalarElementColumnDefault):
            column.server_default = _default_clause(column, default.arg)
        elif field is not None and field.default_factory in {dict, list}:
            empty = "'[]'" if isinstance(column.type, JSONB) else "'{}'"
            column.server_default = _default_clause(
                column, text("'{}'" if field.default_factory is dict else empty)
            )


def _coerce_words(model: type[Base], table: Table) -> None:
    # "fifo" is equal to its member but not identical: a word becomes the member when assigned.
    for column in table.columns:
        if isinstance(column.type, ClosedText):
            attribute = getattr(model, column.key)
            event.listen(attribute, "set", column.type.coerced, retval=True, propagate=True)


def _default_clause(column: Column[Any], value: Any) -> DefaultClause:
    if isinstance(value, bool | int | Decimal):
        value = text(str(value).lower())
    clause = DefaultClause(value)
    clause.column = column
    return clause


class Record(Base, kw_only=True, eq=False, repr=False):
    """A row with a uuid7 key that the server makes, in creation order."""

    __abstract__ = True

    id: Mapped[UUID] = mapped_column(
        primary_key=True,
        init=False,
        # Without monotonic=True SQLAlchemy sends one INSERT a row.
        server_default=func.uuidv7(monotonic=True),
        sort_order=-100,
        comment="Key, UUID version 7: sorts by creation time",
    )


class Timestamped(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    """Adds when a row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime(),
        init=False,
        server_default=func.now(),
        sort_order=900,
        comment="When the row was made, UTC",
    )
    updated_at: Mapped[datetime] = mapped_column(
        UtcDateTime(),
        init=False,
        server_default=func.now(),
        # A Python clock keeps the value known; a SQL one costs a statement a row.
        onupdate=now,
        sort_order=901,
        comment="When the row last changed, UTC",
    )


class Versioned(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    """Adds the counter that refuses a stale edit; for aggregates that people edit."""

    version: Mapped[int] = mapped_column(
        init=False,
        server_default="1",
        sort_order=899,
        comment="Counts edits; a write that read another version is refused",
    )

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - declared_attr receives the class
        return {"version_id_col": cls.__dict__.get("version") or cls.version}


class Owned(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    """Adds the tenant; row-level security and the repositories' scope read it."""

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        sort_order=-90,
        comment="The tenant that owns the row",
    )


def tenant_key(*extra: str) -> UniqueConstraint:
    """Return the unique key that children's composite foreign keys point to."""
    return UniqueConstraint("user_id", "id", *extra)


__all__ = [
    "Amount",
    "Base",
    "Instant",
    "Json",
    "Owned",
    "Price",
    "Quantity",
    "Ratio",
    "Record",
    "Timestamped",
    "Versioned",
    "date",
    "tenant_key",
]
