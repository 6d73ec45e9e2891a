"""What whoever asks may see and do: the one place where a permission becomes an answer.

The gate puts the permits of a request's role here. Views are handed out as this role sees them
(`AsSeen`): without hidden columns in lists, records, filters, searches, forms and exports, and not
at all where the role may not read. Pages that belong to no table are named in `PLACES`.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import TradekeepError
from domain.identity.models import Effect
from domain.identity.permissions import Permits

Handler = Callable[[Request], Awaitable[Response]]

DOTS: Final = "•••"
"""What stands for a hidden value inside of a name."""

PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "/": ("dashboard", "read"),
    "/live": ("live", "read"),
    "/portfolio/{pk}": ("portfolios", "read"),
    "/charts/equity/{pk}": ("portfolios", "read"),
    "/charts/bars/{pk}": ("bars", "read"),
    "/attachments/upload": ("attachments", "create"),
    "/attachments/{pk}/file": ("attachments", "read"),
    "/attachments/{pk}/remove": ("attachments", "delete"),
    "/charts/race": ("agents", "read"),
    "/race": ("agents", "read"),
    "/review": ("journal-entries", "read"),
    "/search": ("search", "read"),
    "/search.json": ("search", "read"),
    "/users/new": ("users", "create"),
    "/users/{pk}/reset": ("users", "reset"),
    "/users/{pk}/second-step": ("users", "reset"),
    "/users/{pk}/role": ("users", "give-role"),
    "/users/{pk}/active": ("users", "lock"),
    "/users/{pk}/provider": ("users", "reset"),
    "/users/{pk}/tenants": ("users", "give-role"),
    "/users/{pk}/view-as": ("users", "impersonate"),
    "/sessions/{pk}/revoke": ("sessions", "revoke"),
    "/api-keys/{pk}/revoke": ("api-keys", "revoke"),
    "/permissions": ("permissions", "read"),
    "/permissions/{role}": ("permissions", "edit"),
    "/permissions/{role}/{resource}": ("permissions", "edit"),
    "/trades/new": ("trades", "create"),
    "/trades/{pk}/correct": ("trades", "correct"),
    "/trades/{pk}/bust": ("trades", "correct"),
    "/imports/new": ("imports", "create"),
    "/imports/book": ("imports", "create"),
    "/imports/{pk}/revert": ("imports", "revert"),
    "/table-imports/{pk}/revert": ("table-imports", "revert"),
    "/runs/{pk}": ("bulk-runs", "read"),
    "/runs/{pk}/stop": ("bulk-runs", "read"),
    "/runs/{pk}/continue": ("bulk-runs", "read"),
    "/alerts/{pk}/status": ("alerts", "answer"),
    "/alert-events/{pk}/answer": ("alert-events", "answer"),
    "/failed-deliveries/answer/{pk}": ("failed-deliveries", "answer"),
}
"""The permission that each page needs which belongs to no table's own pages."""

_LEDGER: Final = ("positions", "trades", "closures", "cash-movements", "equity")

SHOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "/": ("portfolios", *_LEDGER),
    "/portfolio/{pk}": ("portfolios", *_LEDGER),
    "/charts/equity/{pk}": ("portfolios", "equity"),
    "/charts/bars/{pk}": ("bars", "trades", "corporate-actions"),
    "/charts/race": ("agents", "leaderboard", "equity"),
    "/race": ("agents", "leaderboard", "equity"),
    "/review": ("journal-entries", "trades", "closures"),
}
"""The tables that a page puts together: whoever may not see all of each does not see the page."""

BESIDES: Final[Mapping[str, tuple[str, ...]]] = {
    "dashboard": ("read",),
    "live": ("read",),
    "search": ("read",),
    "permissions": ("read", "edit"),
}
"""Resources that are no table, with what may be done there."""

GUARDED: Final = frozenset({"permissions", "sessions"})
"""Resources besides views for administrators in which only administrators write by default."""


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks, and the views as they see them, made once a request."""

    permits: Permits
    seen: dict[int, Any] = field(default_factory=dict)


_ASKER: ContextVar[_Asker | None] = ContextVar("asker", default=None)


def permits() -> Permits | None:
    """Return what whoever asks may do; None outside of requests."""
    asker = _ASKER.get()
    return None if asker is None else asker.permits


@contextmanager
def asking(found: Permits) -> Iterator[None]:
    """Answer with these permits while the block runs."""
    token = _ASKER.set(_Asker(found))
    try:
        yield
    finally:
        _ASKER.reset(token)


def may(resource: str, action: str) -> bool:
    """Return whether whoever asks may do this."""
    found = permits()
    return found is not None and found.allows(resource, action)


def require(resource: str, action: str) -> None:
    """Go on only when whoever asks may do this.

    Raises:
        HTTPException: 403.
    """
    if not may(resource, action):
        raise HTTPException(403, "Your role does not allow this.")


def sees_all_of(found: Permits, resources: Iterable[str]) -> bool:
    """Return whether a role may read these tables, without a hidden field."""
    return all(
        found.allows(name, "read") and not found.fields(name, Effect.HIDDEN) for name in resources
    )


def guarded(path: str, handler: Handler) -> Handler:
    """Return the handler of a page behind the permission that `PLACES` names for it."""
    place = PLACES.get(path)
    if place is None:
        return handler

    async def asked(request: Request) -> Response:
        require(*place)
        found = permits()
        if found is not None and not sees_all_of(found, SHOWS.get(path, ())):
            raise HTTPException(403, "This page shows what your role may not see.")
        return await handler(request)

    return asked


V = TypeVar("V")


class AsSeen(dict[str, V]):
    """Views by name, each handed out as whoever asks may see it; what nobody may read is not there.

    `everything` gives them as they are, for what is no answer to anybody.
    """

    def __getitem__(self, name: str) -> V:
        """Return a view.

        Raises:
            KeyError: There is none, or whoever asks may not read it.
        """
        found: V | None = self._seen(super().__getitem__(name))
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) and self._seen(super().__getitem__(str(name))) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """Return a view, or `default` when whoever asks does not see it."""
        try:
            return self[name]
        except KeyError:
            return default

    def values(self) -> Any:
        """Return the views that whoever asks sees."""
        seen = (self._seen(view) for view in super().values())
        return [view for view in seen if view is not None]

    def items(self) -> Any:
        """Return names and views that whoever asks sees."""
        seen = ((name, self._seen(view)) for name, view in super().items())
        return [(name, view) for name, view in seen if view is not None]

    def everything(self) -> list[V]:
        """Return all views as they are."""
        return list(super().values())

    @staticmethod
    def _seen(view: Any) -> Any:
        asker = _ASKER.get()
        if asker is None:
            return view
        if id(view) not in asker.seen:
            found = asker.permits
            asker.seen[id(view)] = view.seen_by(found) if view.is_open_to(found) else None
        return asker.seen[id(view)]


class _Hidden(str):
    """Dots in place of a value, however it is to be written."""

    __slots__ = ()

    def __format__(self, _: str) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class Masked:
    """A record as a role may see it: hidden values are dots, in its name too.

    Args:
        _record: The record.
        _hidden: The attributes that are not to be seen.
        _mask: Returns what may be seen of a record that this one leads to.
    """

    _record: Any
    _hidden: frozenset[str]
    _mask: Callable[[Any], Any]

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            return _Hidden(DOTS)
        return self._mask(getattr(self._record, name))

    def __str__(self) -> str:
        kind: Any = type(self._record)
        if "__str__" not in kind.__dict__:
            raise TypeError("has no name of its own")
        return str(kind.__str__(self))

    def __format__(self, _: str) -> str:
        return str(self)


def named(write: Callable[[Any], str], record: Any, otherwise: str) -> str:
    """Return what `write` makes of a masked record; `otherwise` where dots cannot be written."""
    try:
        return write(record)
    except (TypeError, ValueError, AttributeError, ArithmeticError, TradekeepError):
        return otherwise
