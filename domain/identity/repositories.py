"""What is asked about people and their access."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update

from domain.db.repository import Repository
from domain.errors import NotFound
from domain.identity.models import (
    ApiKey,
    BulkItem,
    BulkRun,
    ImportStatus,
    NotificationAddress,
    OAuthToken,
    RecoveryCode,
    RolePermission,
    SavedView,
    SecondFactor,
    TableImport,
    TableImportRow,
    Ticket,
    TicketPurpose,
    User,
    UserPreferences,
    UserSession,
)
from domain.identity.ties import ExternalIdentity, StaffTenant


class UserRepository(Repository[User]):
    """Users; a tenant sees itself only, by row-level security."""

    async def by_username(self, username: str) -> User | None:
        """Return the user with this login name, in any case."""
        if "\x00" in username:
            return None
        return await self.first(self.query(User.username == username.strip().lower()))

    async def named(self, username: str) -> User:
        """Return the user with this login name.

        Raises:
            NotFound: Nobody has it.
        """
        user = await self.by_username(username)
        if user is None:
            raise NotFound(f"user {username!r} was not found")
        return user


class StaffTenantRepository(Repository[StaffTenant]):
    """Which tenants limited members of staff see."""

    async def of(self, staff_id: UUID) -> Sequence[StaffTenant]:
        """Return the tenants of a member of staff, in the order of their ids."""
        chosen = self.query(StaffTenant.staff_id == staff_id)
        return await self.all(chosen.order_by(StaffTenant.tenant_id))


class ExternalIdentityRepository(Repository[ExternalIdentity]):
    """Accounts at identity providers."""

    async def by_subject(self, issuer: str, subject: str) -> ExternalIdentity | None:
        """Return the link of a provider's account, or None."""
        same = (ExternalIdentity.issuer == issuer, ExternalIdentity.subject == subject)
        return await self.first(self.query(*same))


class UserSessionRepository(Repository[UserSession]):
    """Logins."""

    async def by_token_hash(self, token_hash: bytes) -> UserSession | None:
        """Return the session whose token has this SHA-256, whether live or not."""
        return await self.first(self.query(UserSession.token_hash == token_hash))

    async def with_user(self, token_hash: bytes) -> tuple[UserSession, User] | None:
        """Return the same session with whose it is: one statement for what every request asks."""
        both = select(UserSession, User).join(User, User.id == UserSession.user_id)
        found = await self.session.execute(both.where(UserSession.token_hash == token_hash))
        row = found.one_or_none()
        return None if row is None else (row[0], row[1])

    async def revoke_all(
        self, user: User, *, at: datetime, reason: str, kept: UUID | None = None
    ) -> int:
        """End every live session of `user`, but not the one that is kept; return how many."""
        live = self.query(UserSession.user_id == user.id, UserSession.revoked_at.is_(None))
        if kept is not None:
            live = live.where(UserSession.id != kept)
        # Row by row, so that a cached login is known by its token's hash; they are few.
        found = await self.all(live.with_for_update().execution_options(populate_existing=True))
        for login in found:
            login.revoked_at, login.revoked_reason = at, reason
        await self.session.flush()
        return len(found)


class ApiKeyRepository(Repository[ApiKey]):
    """Keys of programs."""

    async def by_key_hash(self, key_hash: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, whether live or not."""
        return await self.first(self.query(ApiKey.key_hash == key_hash))


class OAuthTokenRepository(Repository[OAuthToken]):
    """Encrypted tokens of brokers and providers."""


class UserPreferencesRepository(Repository[UserPreferences]):
    """Preferences, one row a user."""


class NotificationAddressRepository(Repository[NotificationAddress]):
    """Where users are reached."""


class SecondFactorRepository(Repository[SecondFactor]):
    """Authenticators, one row a user."""


class RecoveryCodeRepository(Repository[RecoveryCode]):
    """Codes for the day the authenticator is lost."""

    async def unused(self, user_id: UUID) -> int:
        """Return how many codes a user has left."""
        wanted = self.query(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
        return await self.count(wanted)


class TicketRepository(Repository[Ticket]):
    """Single-use tokens."""

    async def locked(self, token_hash: bytes, purpose: TicketPurpose) -> Ticket | None:
        """Return the ticket with this SHA-256, which nobody else may use meanwhile."""
        wanted = self.query(Ticket.token_hash == token_hash, Ticket.purpose == purpose)
        return await self.first(wanted.with_for_update())

    async def withdraw(self, user_id: UUID, *, at: datetime, purpose: TicketPurpose | None) -> None:
        """End the open tokens of a user, for one purpose or for all."""
        wanted = self.query(Ticket.user_id == user_id, Ticket.used_at.is_(None))
        if purpose is not None:
            wanted = wanted.where(Ticket.purpose == purpose)
        for ticket in await self.all(wanted.with_for_update()):
            ticket.used_at = at


class RolePermissionRepository(Repository[RolePermission]):
    """Where roles differ from the defaults."""


class SavedViewRepository(Repository[SavedView]):
    """Lists as people want them again."""

    async def of(self, user_id: UUID, view: str) -> Sequence[SavedView]:
        """Return the saved views of one list that a member of staff sees: own ones first."""
        visible = (SavedView.user_id == user_id) | SavedView.is_shared
        ordered = (SavedView.user_id != user_id, SavedView.position, SavedView.name, SavedView.id)
        return await self.all(self.query(SavedView.view == view, visible).order_by(*ordered))

    async def make_default(self, saved: SavedView) -> None:
        """Open its owner's list with `saved`, and with no other."""
        others = update(SavedView).where(
            SavedView.user_id == saved.user_id,
            SavedView.view == saved.view,
            SavedView.is_default,
        )
        await self.session.execute(others.values(is_default=False))
        await self.session.refresh(saved)
        saved.is_default = True
        await self.session.flush()


class TableImportRepository(Repository[TableImport]):
    """Files that staff read into tables."""

    async def earlier(self, view: str, sha256: bytes) -> TableImport | None:
        """Return an import of the same content into the same table that still counts, or None."""
        same = self.query(
            TableImport.view == view,
            TableImport.sha256 == sha256,
            TableImport.status == ImportStatus.APPLIED,
        )
        return await self.first(same.order_by(TableImport.id.desc()))


class TableImportRowRepository(Repository[TableImportRow]):
    """What became of each row of an import."""


class BulkRunRepository(Repository[BulkRun]):
    """What staff do to many records at once."""


class BulkItemRepository(Repository[BulkItem]):
    """Records of runs."""

    async def next_of(self, run: BulkRun, count: int) -> Sequence[BulkItem]:
        """Lock and return the records whose turn is next."""
        waiting = self.query(BulkItem.run_id == run.id, BulkItem.outcome.is_(None))
        return await self.all(waiting.order_by(BulkItem.position).limit(count).with_for_update())
