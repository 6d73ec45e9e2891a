"""Reads through the cache feel like reads: declared answers as methods of one object."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar, overload
from uuid import UUID

from domain.cache.cache import Cache
from domain.cache.declaring import CachedRead
from domain.db.unit import Unit
from domain.errors import InvalidData

P = ParamSpec("P")
T = TypeVar("T")

CACHE: Final = "cache"
"""The key of the cache in ``Session.info``."""


class CachedReader:
    """Asks for declared answers on behalf of one user, or of nobody.

    Args:
        cache: The cache.
        user: Whose answers; None for answers that are no user's.
        unit: The unit that asks: once it has written, it reads past the cache.
    """

    def __init__(self, cache: Cache, user: UUID | None = None, unit: Unit | None = None) -> None:
        self._cache, self._user, self._unit = cache, user, unit

    @classmethod
    def of(cls, unit: Unit) -> Self:
        """Return the reader of a unit.

        Raises:
            InvalidData: The unit belongs to no open database.
        """
        cache = unit.session.sync_session.info.get(CACHE)
        if not isinstance(cache, Cache):
            raise InvalidData("unit", "without a cache", "be opened by Database")
        return cls(cache, unit.user_id, unit)

    def get(self, read: CachedRead[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Return a declared answer; `read` may be declared anywhere.

        Raises:
            InvalidData: The parameters are not the declaration's, or a user is missing.
            TradekeepError: What loading raised.
        """
        if self._unit is None and not kwargs:
            return self._cache.ask(read, self._user, args)
        given = read.bind(self._user, args, kwargs)
        if self._unit is None:
            return self._cache.get(read, given)
        return self._cache.get_within(self._unit, read, given)

    async def expire(self, read: CachedRead[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Take a declared answer out by hand.

        Raises:
            InvalidData: The parameters are not the declaration's, or a user is missing.
            Unavailable: The cache's server does not answer.
        """
        await self._cache.expire(read, read.bind(self._user, args, kwargs))


class answer(Generic[P, T]):  # noqa: N801 - reads as a declaration: leaderboard = answer(leaderboard)
    """Declares an answer as a method of a reader class.

    Example:
        class Answers(CachedReader):
            portfolio_overview = answer(trading.cached.portfolio_overview)
    """

    def __init__(self, read: CachedRead[P, T]) -> None:
        self.read = read
        self.__doc__ = read.load.__doc__

    @overload
    def __get__(self, reader: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, reader: CachedReader, owner: type[Any]) -> Callable[P, Awaitable[T]]: ...
    def __get__(
        self, reader: CachedReader | None, owner: type[Any]
    ) -> Self | Callable[P, Awaitable[T]]:
        """Return the method, or the declaration when read from the class."""
        if reader is None:
            return self

        def ask(*args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
            return reader.get(self.read, *args, **kwargs)

        return ask
