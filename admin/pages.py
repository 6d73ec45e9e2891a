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
from domain.clock import now

STATICS: Final = Path(__file__).parent / "statics"
DONE: Final = {
    "saved": "Saved.",
    "unchanged": "Nothing was changed, so nothing was written.",
    "created": "Created.",
    "deleted": "Deleted.",
    "attached": "The file was attached.",
    "removed": "The file was removed.",
    "linked": "The account is linked: you may log in with it from now on.",
    "linked-already": "This account is linked already. Nothing was changed.",
}
"""What a page says after a redirect. The address holds a word of these, never the sentence."""

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
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


class Pages:
    """The admin's templates.

    Args:
        title: Name of the installation, in the corner of each page.
    """

    def __init__(self, title: str = "Tradekeep") -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(site_title=title, show=show, edition=_edition())
        self.offer("")
        self._environment.globals.update(cell_value=value, cell_column=column, table_lines=lines)

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
        """Return the page `name` filled with `context`."""
        staff = request.scope.get("tradekeep.staff")
        menu = request.scope["tradekeep.menu"](request) if staff else []
        base = {
            "request": request,
            "staff": staff,
            "root": root_of(request),
            "menu": menu,
            "area_here": next((name for name, views in menu if any(v[2] for v in views)), ""),
            "done": DONE.get(request.query_params.get("done", ""), ""),
            "viewing_minutes": _minutes_left(staff),
            "zone": staff.user.timezone if staff else "UTC",
        }
        template = self._environment.get_template(name)
        return HTMLResponse(template.render(base | (context or {})), status_code=status)


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
