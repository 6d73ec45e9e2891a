"""Stock Django admin on the same tables; its own tables stand in a schema of their own."""

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

_URL = urlsplit(os.environ["BENCH_URL"].replace("+asyncpg", ""))
settings.configure(
    SECRET_KEY="b" * 50,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    STATIC_URL="/static/",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _URL.path.lstrip("/"),
            "USER": _URL.username or "",
            "PASSWORD": _URL.password or "",
            "HOST": _URL.hostname or parse_qs(_URL.query).get("host", [""])[0],
            "PORT": str(_URL.port or ""),
            "CONN_MAX_AGE": None,
            "OPTIONS": {"options": "-c search_path=django_bench,public"},
        }
    },
)
django.setup()

from django.contrib import admin
from django.db import models
from django.urls import path


class Instrument(models.Model):
    """What is traded."""

    id = models.UUIDField(primary_key=True)
    symbol = models.TextField()

    class Meta:
        app_label = "auth"
        managed = False
        db_table = '"market"."instruments"'

    def __str__(self) -> str:
        return str(self.symbol)


class Portfolio(models.Model):
    """Where it is booked."""

    id = models.UUIDField(primary_key=True)
    name = models.TextField()

    class Meta:
        app_label = "auth"
        managed = False
        db_table = '"trading"."portfolios"'

    def __str__(self) -> str:
        return str(self.name)


class Trade(models.Model):
    """An execution."""

    id = models.UUIDField(primary_key=True)
    executed_at = models.DateTimeField()
    side = models.TextField(choices=[("buy", "buy"), ("sell", "sell")])
    quantity = models.DecimalField(max_digits=38, decimal_places=18)
    price = models.DecimalField(max_digits=38, decimal_places=18)
    gross_amount = models.DecimalField(max_digits=38, decimal_places=18)
    currency = models.TextField()
    kind = models.TextField()
    status = models.TextField()
    portfolio = models.ForeignKey(Portfolio, models.DO_NOTHING)
    instrument = models.ForeignKey(Instrument, models.DO_NOTHING)

    class Meta:
        app_label = "auth"
        managed = False
        db_table = '"trading"."trades"'


def _amount() -> Any:
    return models.DecimalField(max_digits=38, decimal_places=18, null=True)


class Entry(models.Model):
    """A journal entry, with every column that our own form has."""

    id = models.UUIDField(primary_key=True)
    entry_on = models.DateField()
    kind = models.TextField()
    title = models.TextField(null=True)
    portfolio = models.ForeignKey(Portfolio, models.DO_NOTHING, null=True)
    instrument = models.ForeignKey(Instrument, models.DO_NOTHING, null=True)
    strategy = models.TextField(null=True)
    direction = models.TextField(null=True)
    planned_entry = _amount()
    planned_stop = _amount()
    planned_target = _amount()
    initial_risk = _amount()
    thesis = models.TextField(null=True)
    legs = models.JSONField(null=True)
    entry_at = models.DateTimeField(null=True)
    entry_price = _amount()
    exit_on = models.DateField(null=True)
    exit_at = models.DateTimeField(null=True)
    exit_price = _amount()
    mae = _amount()
    mfe = _amount()
    pnl = _amount()
    pnl_percent = _amount()
    fees = _amount()
    currency = models.TextField(null=True)
    rating = models.IntegerField(null=True)
    satisfied = models.BooleanField(null=True)
    followed_plan = models.BooleanField(null=True)
    emotion = models.TextField(null=True)
    notes = models.TextField(null=True)
    lessons = models.TextField(null=True)

    class Meta:
        app_label = "auth"
        managed = False
        db_table = '"journal"."journal_entries"'


class Attachment(models.Model):
    """A file of an entry."""

    id = models.UUIDField(primary_key=True)
    entry = models.ForeignKey(Entry, models.DO_NOTHING)
    filename = models.TextField()
    caption = models.TextField(null=True)

    class Meta:
        app_label = "auth"
        managed = False
        db_table = '"journal"."attachments"'


class FilesInline(admin.TabularInline):
    """The files on the form of their entry."""

    model = Attachment
    fields = ("filename", "caption")
    extra = 0


class EntryAdmin(admin.ModelAdmin):
    """The form."""

    inlines = (FilesInline,)


class TradeAdmin(admin.ModelAdmin):
    """The list."""

    list_display = (
        "executed_at",
        "side",
        "quantity",
        "price",
        "gross_amount",
        "currency",
        "kind",
        "status",
        "instrument",
        "portfolio",
    )
    list_select_related = ("instrument", "portfolio")
    list_filter = ("side",)
    search_fields = ("instrument__symbol",)
    ordering = ("-executed_at",)
    list_per_page = 50


admin.site.register(Trade, TradeAdmin)
admin.site.register(Entry, EntryAdmin)
urlpatterns: list[Any] = [path("admin/", admin.site.urls)]


def prepare() -> str:
    """Make Django's own tables and a superuser; return the key of a session of theirs."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS django_bench")
    call_command("migrate", verbosity=0)
    boss = User.objects.filter(username="boss").first()
    boss = boss or User.objects.create_superuser("boss", password="b" * 20)
    session = SessionStore()
    session[SESSION_KEY] = str(boss.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = boss.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def application() -> Any:
    """Return the ASGI application."""
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


if __name__ == "__main__":
    print(prepare())
