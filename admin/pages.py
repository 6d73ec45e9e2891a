"""Renders templates. Synchronous on purpose: async Jinja costs a third of a list page's time."""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from admin.rendering import Cell, show

STATICS: Final = Path(__file__).parent / "statics"
_TEMPLATES: Final = Path(__file__).parent / "templates"


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
        self._environment.globals.update(title=title, show=show, Cell=Cell)

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
        base = {
            "request": request,
            "staff": staff,
            "root": request.scope.get("root_path", ""),
            "menu": request.scope.get("tradekeep.menu", []),
            "zone": staff.user.timezone if staff else "UTC",
        }
        template = self._environment.get_template(name)
        return HTMLResponse(template.render(base | (context or {})), status_code=status)
