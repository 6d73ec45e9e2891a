"""Renders templates. Synchronous on purpose: async Jinja costs a third of a list page's time."""

import hashlib
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from admin.markup import column, lines, value
from admin.rendering import show
from admin.translating import (
    Languages,
    gettext,
    inside,
    label,
    language,
    marked,
    ngettext,
    npgettext,
    pgettext,
    said_rule,
    speaking,
    word,
)
from domain.clock import now

STATICS: Final = Path(__file__).parent / "statics"
DONE: Final = {
    "saved": marked("Saved."),
    "unchanged": marked("Nothing was changed, so nothing was written."),
    "created": marked("Created."),
    "deleted": marked("Deleted."),
    "attached": marked("The file was attached."),
    "removed": marked("The file was removed."),
    "linked": marked("The account is linked: you may log in with it from now on."),
    "linked-already": marked("This account is linked already. Nothing was changed."),
}
"""What a page says after a redirect. The address holds a word of these, never the sentence."""

_KEPT: Final = {"cache-control": "public, max-age=31536000, immutable"}
_TEMPLATES: Final = Path(__file__).parent / "templates"


MenuArea = tuple[str, Sequence[tuple[str, str, bool]]]
"""The name of an area, and the label and address of each table; whether it is the current one."""


def root_of(request: Request) -> str:
    """Return where the admin is mounted, for example ``/admin``."""
    return str(request.scope.get("root_path", ""))


class KeptStatics(StaticFiles):
    """Style sheet, script and icon, kept by browsers: their address changes with their content."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the file with a year to live."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_KEPT)
        return response


class Pages:
    """The admin's templates.

    Args:
        title: Name of the installation, in the corner of each page.
        languages: The languages that pages are shown in.
    """

    def __init__(self, title: str = "Tradekeep", languages: Languages | None = None) -> None:
        self.languages = languages or Languages()
        self._environment = Environment(
            extensions=["jinja2.ext.i18n"],
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(site_title=title, show=show, edition=_edition())
        self.offer("")
        self._environment.globals.update(cell_value=value, cell_column=column, table_lines=lines)
        self._environment.globals.update(local=gettext, label=label, word=word, inside=inside)
        self._environment.globals.update(said_rule=said_rule)
        install: Any = self._environment
        install.install_gettext_callables(
            gettext, ngettext, newstyle=True, pgettext=pgettext, npgettext=npgettext
        )

    def offer(self, provider_name: str) -> None:
        """Let pages offer the identity provider of this name; empty: there is none."""
        self._environment.globals["provider_name"] = provider_name

    def render(
        self,
        request: Request,
        name: str,
        context: dict[str, Any] | None = None,
        *,
        status: int = 200,
    ) -> HTMLResponse:
        """Return the page `name` filled with `context`, in the language of the request."""
        # What failed is shown outside of the gate, which has closed the language again.
        with speaking(request.scope.get("tradekeep.language", language())):
            text = self._text(request, name, context or {})
        return HTMLResponse(text, status_code=status)

    def _text(self, request: Request, name: str, context: dict[str, Any]) -> str:
        staff = request.scope.get("tradekeep.staff")
        menu = request.scope["tradekeep.menu"](request) if staff else []
        base = {
            "request": request,
            "staff": staff,
            "root": root_of(request),
            "menu": menu,
            "area_here": next((name for name, views in menu if any(v[2] for v in views)), ""),
            "viewing_minutes": _minutes_left(staff),
            "done": gettext(DONE.get(request.query_params.get("done", ""), "")),
            "language": language(),
            "zone": staff.user.timezone if staff else "UTC",
        }
        return self._environment.get_template(name).render(base | context)

    def words(self, request: Request) -> Response:
        """Return what scripts say in a language; it is kept, as statics are."""
        found = self.languages.named(request.path_params["tag"])
        text = found.script if found else ""
        status = 200 if found else 404
        return Response(text, status, dict(_KEPT), media_type="text/javascript")


def _minutes_left(staff: Any) -> int:
    """Return for how many minutes, begun ones too, somebody still looks as somebody else."""
    until = staff.viewing_until if staff else None
    return 0 if until is None else max(0, ceil((until - now()).total_seconds() / 60))


def _edition() -> str:
    """Return a word that changes with the statics, so that browsers may keep them for long."""
    digest = hashlib.sha256()
    for file in sorted(STATICS.rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
