"""Ties objects to a transaction: no row without its object, no object without its row."""

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from domain.clock import new_id
from domain.errors import TradekeepError
from domain.storage.folders import Content, Folder, ObjectInfo
from domain.storage.keys import checked_key

_KEPT: Final = "backups/replaced"


@dataclass(frozen=True, slots=True)
class _Written:
    key: str
    kept: str | None


class Staged:
    """Objects that stay only when the block ends well.

    What is put is written at once, and taken back when the block fails: new objects go, replaced
    ones come back. What is deleted goes when the block has ended well. Open it outside the
    transaction, so that a commit that fails counts::

        async with storage.staged() as staged, db.transaction(user=user_id) as unit:
            await attach(unit, staged, entry, filename="chart.png", content=png)

    A process that is killed in between may leave an object without a row, never a row without an
    object.

    Args:
        store: The whole store.
    """

    def __init__(self, store: Folder) -> None:
        self._store = store
        self._written: list[_Written] = []
        self._doomed: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            await self._keep()
        else:
            await self._take_back()

    async def put(self, key: str, content: Content, *, limit: int | None = None) -> ObjectInfo:
        """Write an object; taken back when the block fails.

        Args:
            key: Its full key.
            content: As `Folder.put`.
            limit: As `Folder.put`.

        Raises:
            InvalidData: As `Folder.put`.
            Unavailable: As `Folder.put`.
        """
        kept = await self._kept(key)
        self._written.append(_Written(key, kept))
        return await self._store.put(key, content, limit=limit)

    def delete(self, key: str) -> None:
        """Delete an object when the block has ended well.

        Raises:
            InvalidData: `key` breaks a rule.
        """
        self._doomed.append(checked_key(key))

    async def _kept(self, key: str) -> str | None:
        if not await self._store.exists(key):
            return None
        kept = f"{_KEPT}/{new_id()}"
        await self._store.copy(key, kept)
        return kept

    async def _keep(self) -> None:
        replaced = [item.kept for item in self._written if item.kept is not None]
        for key in (*self._doomed, *replaced):
            try:
                await self._store.delete(key)
            except TradekeepError:  # the rows are committed: what is left over is swept later
                continue

    async def _take_back(self) -> None:
        for item in reversed(self._written):
            try:
                if item.kept is not None:
                    await self._store.copy(item.kept, item.key)
                    await self._store.delete(item.kept)
                else:
                    await self._store.delete(item.key)
            except TradekeepError:  # the error that ended the block is the one to report
                continue
