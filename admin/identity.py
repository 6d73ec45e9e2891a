"""Views of people and their access. Secrets are in no list, form or export."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement

from admin.actions import API_KEYS, SESSIONS
from admin.records import RecordView, Related
from admin.translating import gettext
from domain.identity.models import (
    ApiKey,
    BulkItem,
    BulkRun,
    NotificationAddress,
    OAuthToken,
    SavedView,
    SecondFactor,
    TableImport,
    TableImportRow,
    Ticket,
    User,
    UserPreferences,
    UserSession,
)
from domain.identity.ties import ExternalIdentity, StaffTenant

_CATEGORY = "Identity"


class UserView(RecordView, model=User):
    """People and services."""

    name, name_plural, path = "User", "Users", "users"
    powers = ("create", "reset", "give-role", "lock", "impersonate")
    panel = "panels/user.html"
    category = _CATEGORY
    is_for_administrators = True
    about = "People and services. Each user is a tenant that owns portfolios."
    columns = ("username", "name", "email", "role", "is_active", "last_login_at")
    order = (User.username,)
    is_newest_first = False
    is_found_by_name = True
    search = (User.username,)
    search_hint = "User name begins with…"
    filters = ("role",)
    editable = ("name", "email", "external_id", "base_currency", "timezone")
    related = (
        Related("Portfolios", "portfolios", "user_id"),
        Related("Sessions", "sessions", "user_id"),
        Related("API keys", "api-keys", "user_id"),
        Related("Provider accounts", "provider-accounts", "user_id"),
        Related("Tenants", "staff-tenants", "staff_id"),
        Related("Password resets", "tickets", "user_id"),
        Related("Journal", "journal-entries", "user_id"),
        Related("Alerts", "alerts", "user_id"),
        Related("Watchlists", "watchlists", "user_id"),
        Related("Agents", "agents", "user_id"),
        Related("Notifications", "notifications", "user_id"),
    )

    def warnings(self, record: Any) -> Sequence[str]:
        """Return that an account is locked."""
        return () if record.is_active else (gettext("This account is locked."),)

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for login names, which are stored in lower case."""
        return super().search_condition(text.lower())


class UserSessionView(RecordView, model=UserSession):
    """Logins."""

    name, name_plural, path = "Session", "Sessions", "sessions"
    powers = ("revoke",)
    panel = "panels/revoke.html"
    category = _CATEGORY
    about = "Logins. Revoking one ends it with the next request."
    columns = ("user_id", "issued_at", "last_seen_at", "expires_at", "revoked_at", "ip")
    order = (UserSession.id,)
    bulk_actions = SESSIONS
    keys = ("user_id",)


class ApiKeyView(RecordView, model=ApiKey):
    """Keys of programs."""

    name, name_plural, path = "API key", "API keys", "api-keys"
    powers = ("revoke",)
    panel = "panels/revoke.html"
    category = _CATEGORY
    is_for_administrators = True
    about = "Keys with which programs authenticate. A key is shown once, when it is made."
    columns = ("name", "prefix", "user_id", "expires_at", "last_used_at", "revoked_at")
    order = (ApiKey.id,)
    bulk_actions = API_KEYS
    keys = ("user_id",)
    editable = ("name", "permissions", "expires_at")


class OAuthTokenView(RecordView, model=OAuthToken):
    """Tokens of providers."""

    name, name_plural, path = "OAuth token", "OAuth tokens", "oauth-tokens"
    category = _CATEGORY
    is_for_administrators = True
    about = "Tokens of brokers and providers, encrypted. The tokens themselves are never shown."
    columns = ("provider", "user_id", "key_id", "scopes", "expires_at")
    order = (OAuthToken.id,)
    keys = ("user_id",)
    is_deletable = True


class SecondFactorView(RecordView, model=SecondFactor):
    """Authenticators."""

    name, name_plural, path = "Second step", "Second steps", "second-steps"
    category = _CATEGORY
    is_for_administrators = True
    about = "Authenticators of logins. Their secrets are encrypted and never shown."
    columns = ("user_id", "confirmed_at", "key_id", "updated_at")
    order = (SecondFactor.user_id,)
    is_newest_first = False


class ExternalIdentityView(RecordView, model=ExternalIdentity):
    """Accounts at identity providers."""

    name, name_plural, path = "Provider account", "Provider accounts", "provider-accounts"
    category = _CATEGORY
    is_for_administrators = True
    about = "Accounts at identity providers with which users log in. Deleting one unlinks it."
    hint_about = "Users link their own on their account page, administrators on the user's page."
    columns = ("user_id", "email", "issuer", "subject", "linked_by", "last_used_at", "created_at")
    order = (ExternalIdentity.id,)
    keys = ("user_id",)
    is_deletable = True

    def title(self, record: Any) -> str:
        """Return ``ada@example.com · https://login.example.com``."""
        return f"{record.email or record.subject} · {record.issuer}"


class StaffTenantView(RecordView, model=StaffTenant):
    """Which tenants limited staff see."""

    name, name_plural, path = "Tenant of staff", "Tenants of staff", "staff-tenants"
    category = _CATEGORY
    is_for_administrators = True
    about = "Which tenants limited members of staff see. They are chosen on the user's page."
    columns = ("staff_id", "tenant_id", "granted_by", "created_at")
    order = (StaffTenant.staff_id, StaffTenant.tenant_id)
    is_newest_first = False
    keys = ("staff_id", "tenant_id")


class TicketView(RecordView, model=Ticket):
    """Single-use tokens."""

    name, name_plural, path = "Ticket", "Tickets", "tickets"
    category = _CATEGORY
    is_for_administrators = True
    is_part = True
    about = "Password resets and second steps under way. The tokens themselves are not stored."
    columns = ("purpose", "user_id", "issued_by", "issued_at", "expires_at", "used_at")
    order = (Ticket.id,)
    keys = ("user_id",)


class NotificationAddressView(RecordView, model=NotificationAddress):
    """Where users are reached."""

    name, name_plural, path = "Notification address", "Notification addresses", "addresses"
    category = _CATEGORY
    is_for_administrators = True
    about = "Where users are reached, encrypted. The addresses themselves are never shown."
    columns = ("user_id", "channel", "hint", "updated_at")
    order = (NotificationAddress.id,)
    keys = ("user_id",)
    is_deletable = True


class SavedViewView(RecordView, model=SavedView):
    """Saved views."""

    name, name_plural, path = "Saved view", "Saved views", "saved-views"
    category = _CATEGORY
    is_for_administrators = True
    about = "Lists that people saved under a name. They are made above the list itself."
    columns = ("view", "name", "user_id", "is_shared", "is_default", "query", "updated_at")
    order = (SavedView.id,)
    filters = ("is_shared",)
    keys = ("user_id",)
    editable = ("name", "is_shared")
    is_deletable = True


class TableImportView(RecordView, model=TableImport):
    """Files read into tables."""

    name, name_plural, path = "Table import", "Table imports", "table-imports"
    panel = "panels/table_import.html"
    powers = ("revert",)
    category = _CATEGORY
    about = "Files that staff read into tables. An import is taken back on its page."
    hint_about = "A list whose records are made by hand has an import."
    columns = (
        "created_at",
        "view",
        "filename",
        "user_id",
        "rows_total",
        "rows_inserted",
        "rows_updated",
        "rows_rejected",
        "status",
    )
    order = (TableImport.id,)
    filters = ("status",)
    keys = ("user_id",)
    related = (Related("Rows", "table-import-rows", "import_id", same=("user_id",)),)


class TableImportRowView(RecordView, model=TableImportRow):
    """Rows of files read into tables."""

    name, name_plural, path = "Imported row", "Imported rows", "table-import-rows"
    category = _CATEGORY
    about = "What became of each row of an import."
    holds_everything = True
    columns = ("line", "outcome", "record_key", "faults", "import_id")
    order = (TableImportRow.id,)
    is_newest_first = False
    filters = ("outcome",)
    keys = ("import_id", "user_id")
    is_part = True


class BulkRunView(RecordView, model=BulkRun):
    """What was done to many records."""

    name, name_plural, path = "Bulk run", "Bulk runs", "bulk-runs"
    category = _CATEGORY
    panel = "panels/bulk_run.html"
    about = "What staff did to many records at once."
    hint_about = "Choose records in a list, and what to do with them below it."
    columns = ("created_at", "view", "action", "user_id", "total", "done", "skipped", "status")
    order = (BulkRun.id,)
    filters = ("status",)
    keys = ("user_id",)
    related = (Related("Records", "bulk-items", "run_id", same=("user_id",)),)


class BulkItemView(RecordView, model=BulkItem):
    """Records of runs."""

    name, name_plural, path = "Bulk item", "Bulk items", "bulk-items"
    category = _CATEGORY
    about = "What became of each record of a run."
    columns = ("position", "record_key", "outcome", "reason", "run_id")
    order = (BulkItem.id,)
    is_newest_first = False
    filters = ("outcome",)
    keys = ("run_id", "user_id")
    is_part = True


class UserPreferencesView(RecordView, model=UserPreferences):
    """Preferences."""

    name, name_plural, path = "Preferences", "Preferences", "preferences"
    category = _CATEGORY
    about = "How users want things."
    columns = ("user_id", "cost_basis_method", "morning_alert", "eod_summary", "updated_at")
    order = (UserPreferences.user_id,)
    is_newest_first = False
    editable = (
        "default_strategy",
        "morning_alert",
        "eod_summary",
        "notification_channels",
        "notification_rules",
        "quiet_from",
        "quiet_until",
        "cost_basis_method",
        "settings",
    )


VIEWS = (
    UserView,
    UserSessionView,
    ApiKeyView,
    OAuthTokenView,
    SecondFactorView,
    ExternalIdentityView,
    StaffTenantView,
    TicketView,
    NotificationAddressView,
    UserPreferencesView,
    SavedViewView,
    TableImportView,
    TableImportRowView,
    BulkRunView,
    BulkItemView,
)
