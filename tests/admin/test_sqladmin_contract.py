"""What the admin takes from sqladmin that sqladmin does not promise: each name, and what it does.

When one of these fails after an upgrade, `admin.site` and `admin.records` are where it is used.
"""

import inspect

import pytest
from sqladmin import Admin, ModelView
from sqladmin._menu import CategoryMenu, Menu, ViewMenu
from sqladmin.application import BaseAdmin
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from admin.records import RecordView
from admin.site import Site
from domain.identity.models import User


async def test_the_admin_is_a_starlette_application_mounted_at_admin(app: Starlette) -> None:
    site = app.state.site
    assert isinstance(site, Site) and isinstance(site.admin, Starlette)
    assert [route.path for route in app.routes] == ["/", "/livez", "/readyz", "/ws", "/admin"]  # type: ignore[attr-defined]


async def test_views_are_found_by_their_identity_else_404(app: Starlette) -> None:
    site = app.state.site
    assert isinstance(site._find_model_view("trades"), RecordView)
    with pytest.raises(HTTPException) as caught:
        site._find_model_view("trade")
    assert caught.value.status_code == 404


async def test_the_menu_groups_views_by_category(app: Starlette) -> None:
    menu = app.state.site._menu
    assert isinstance(menu, Menu)
    assert [item.name for item in menu.items] == [
        "Trading",
        "Journal",
        "Alerts",
        "Research",
        "Agents",
        "Market",
        "News",
        "Identity",
        "Messaging",
        "Audit",
    ]
    assert all(isinstance(item, CategoryMenu) for item in menu.items)
    assert all(isinstance(child, ViewMenu) for item in menu.items for child in item.children)
    assert menu.items[0].children[0].view.identity == "portfolios"


async def test_registering_needs_these_attributes_of_a_view(app: Starlette) -> None:
    view = app.state.site.records()[0]
    for name in ("_admin_ref", "session_maker", "is_async", "templates", "ajax_lookup_url"):
        assert hasattr(view, name)


def test_the_metaclass_names_views_for_their_model_whatever_the_class_says() -> None:
    class Named(ModelView, model=User):
        identity = "people"
        name_plural = "People"

    assert Named.identity == "user", "Site sets it from `path` because of this"
    assert (Named.name_plural, Named.is_model, Named.can_import) == ("People", True, False)


def test_hooks_that_the_site_replaces_exist() -> None:
    for name in ("list", "details", "create", "edit", "delete", "export", "ajax_lookup"):
        assert inspect.iscoroutinefunction(getattr(Admin, name)), name
    assert "category" in inspect.getsource(BaseAdmin._build_menu)


async def test_no_registered_view_brings_routes_of_its_own(app: Starlette) -> None:
    for view in app.state.site.records():
        funcs = [func for _, func in inspect.getmembers(view, predicate=inspect.ismethod)]
        assert [f for f in funcs if hasattr(f, "_action") or hasattr(f, "_exposed")] == []
