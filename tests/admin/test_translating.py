"""Languages: everything is said in the one that was asked for, and German is whole."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from httpx2 import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from admin import catalogues
from admin.catalogues import compiled, faults, messages, read
from admin.fields import label_of
from admin.pages import STATICS
from admin.translating import (
    LOCALES,
    Languages,
    gettext,
    ngettext,
    preferences,
    said_rule,
    speaking,
)
from domain import Database
from domain.db.types import ClosedText
from domain.schema import metadata
from tests.admin.browsing import links, send, visit
from tests.admin.records import make_everything
from tests.admin.test_walk import views
from tests.admin.unsaid import Data, marked_catalogue, unsaid

ENGLISH = {"accept-language": "en"}
GERMAN = {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}
MARKED = {"accept-language": "en-XA"}
_LANGUAGES = Languages()


@pytest.fixture(scope="module")
def template() -> Catalog:
    return messages()


# ── every page ───────────────────────────────────────────────────────────────────────────────────


async def _data(db: Database) -> Data:
    """Return every text that records hold; words of closed vocabularies are translated."""
    found: set[str] = set()

    def take(value: Any) -> None:
        if isinstance(value, str):
            spaced = " ".join(value.split())
            found.update((value, spaced, spaced.replace("_", " "), *value.splitlines()))
        elif isinstance(value, dict):
            for key, part in value.items():
                take(key)
                found.add(label_of(key))
                take(part)
        elif isinstance(value, list | tuple):
            for part in value:
                take(part)

    async with db.read(system="test") as unit:
        for table in metadata.tables.values():
            columns = [c for c in table.columns if not isinstance(c.type, ClosedText)]
            for row in await unit.session.execute(table.select().with_only_columns(*columns)):
                take(tuple(row))
    found |= {name for table in metadata.tables.values() for name in (table.fullname, table.name)}
    return Data(found - {""} | {"Tradekeep", "English", "Deutsch", "en-XA", "nonsense"})


def _places(app: Starlette, key: str) -> list[str]:
    """Return the address of every page that is read, with a portfolio wherever one is asked for."""
    sample = {"identity": "portfolios", "pk": key, "role": "viewer", "resource": "trades"}
    routes = [route for route in app.state.site.admin.routes if isinstance(route, Route)]
    reading = [route.path for route in routes if "GET" in (route.methods or ())]
    filled = [re.sub(r"\{(\w+)(:\w+)?\}", lambda m: sample.get(m[1], "csv"), p) for p in reading]
    quiet = ("/words/", "/live", "/charts/", "/search.json")
    return [
        p for p in filled if not p.startswith(quiet) and "export." not in p and "/lookup" not in p
    ]


async def _pages(client: AsyncClient, app: Starlette) -> dict[str, str]:
    """Return the pages of the walk: of each table the list, records, forms and a refusal."""
    paths: list[str] = []
    pages: dict[str, str] = {}
    for view in views(app):
        listing = await visit(client, f"/{view.identity}/list?facets=1")
        pages[f"/{view.identity}/list?facets=1"] = listing.html
        (record, *_) = links(listing, f"/{view.identity}/details/")
        paths += [record]
        if view.editable and not view.creatable:
            paths.append(record.replace("/details/", "/edit/"))
        if view.is_found_by_name:
            # These two look the same for every table.
            paths += [record.replace("/details/", "/history/")] if view.has_history else []
            paths += [record.replace("/details/", "/delete/")] if view.is_deletable else []
        paths += [f"/{view.identity}/create"] if view.creatable else []
        if view.identity == "portfolios":
            paths += _places(app, record.rpartition("/")[2])
    paths += ["/trades/list?where=1:side.not.buy,or(price.gt.5,price.empty,price.between.1|2)"]
    paths += ["/trades/list?where=1:side", "/trades/list?at=nonsense", "/nothing/list", "/nothing"]
    others = {path: (await client.get(f"/admin{path}")).text for path in dict.fromkeys(paths)}
    return pages | others


async def test_every_page_says_everything_in_the_language_of_its_reader(
    db: Database, app: Starlette, boss: AsyncClient, tmp_path: Path, template: Catalog
) -> None:
    await make_everything(db)
    app.state.site.pages.languages.add(marked_catalogue(template, tmp_path))
    boss.headers.update(MARKED)
    pages = await _pages(boss, app)
    for view in views(app):
        if view.creatable:
            refused = await send(boss, f"/{view.identity}/create", {})
            pages[f"refusal of {view.identity}"] = refused.text
    data = await _data(db)
    found = {path: left for path, html in pages.items() if (left := unsaid(html, data))}
    assert found == {}
    silent = [path for path, html in pages.items() if "<html" in html and "⟦" not in html]
    assert silent == [], "the language was not taken"


def test_a_text_that_was_forgotten_is_found() -> None:
    data = Data({"Main", "breakout of the range"})
    good = '<p title="⟦Open⟧">Main <b>⟦Saved⟧</b> 12:30 UTC breakout of the range</p>'
    assert unsaid(good, data) == []
    for planted in ("<p>Saved</p>", '<i title="Saved"></i>', "<b>⟦All⟧ of them</b>"):
        assert unsaid(good + planted, data) != [], planted


# ── which language ───────────────────────────────────────────────────────────────────────────────


async def test_the_own_choice_comes_before_the_browsers_and_that_before_the_default(
    app: Starlette, boss: AsyncClient, nobody: AsyncClient
) -> None:
    async def spoken(client: AsyncClient, path: str, accepted: str) -> str:
        html = (await client.get(f"/admin{path}", headers={"accept-language": accepted})).text
        found = re.search(r'<html lang="([^"]+)" dir="ltr"', html)
        assert found is not None
        return found[1]

    assert await spoken(nobody, "/login", "de-CH, en;q=0.8") == "de"
    assert await spoken(nobody, "/login", "fr, pt-BR;q=0.9") == "en", "none of them is there"
    assert await spoken(boss, "/account", "de") == "de"
    kept = await send(boss, "/account/wishes", {"timezone": "UTC", "theme": "", "language": "en"})
    assert kept.status_code == 303
    assert await spoken(boss, "/account", "de") == "en"
    await send(boss, "/account/wishes", {"timezone": "UTC", "language": "klingon"})
    assert await spoken(boss, "/account", "de") == "de", "what is no language is no choice"
    app.state.site.pages.languages.default = app.state.site.pages.languages.named("de")
    assert await spoken(nobody, "/login", "") == "de"


@given(st.text(max_size=600) | st.text(alphabet="dePQq-_;=,.*019 ", max_size=80))
def test_no_header_does_harm(header: str) -> None:
    assert _LANGUAGES.chosen("", header).tag in {"en", "de"}
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", tag) for tag in preferences(header))


def test_the_best_language_of_a_header_comes_first() -> None:
    assert preferences("en;q=0.5, de-AT, fr;q=0, *;q=0.1, it;q=2, x y;q=1") == ["de-AT", "en"]
    assert Languages().chosen("", "fr, de-LU;q=0.4, en;q=0.3").tag == "de"
    assert Languages(default="de").chosen("", "fr").tag == "de"
    assert Languages(default="xx").chosen("xx", "").tag == "en"


# ── German ───────────────────────────────────────────────────────────────────────────────────────


async def test_german_people_read_german(
    db: Database, app: Starlette, boss: AsyncClient, nobody: AsyncClient
) -> None:
    await make_everything(db)
    for client in (boss, nobody):
        client.headers.update(GERMAN)
    login = await visit(nobody, "/login")
    assert "Anmelden Benutzername Passwort Anmelden Passwort vergessen?" in login.text
    wrong = await send(nobody, "/login", {"username": "ada", "password": "x"})
    assert "Benutzername oder Passwort ist falsch." in wrong.text
    trades = await visit(boss, "/trades/list?where=1:price.gt.5&facets=1")
    for text in ("Ausgeführt am", "Stückzahl", "Kurs größer als 5", "Kauf", "gebucht", "Filtern"):
        assert text in trades.text, text
    assert "10.000000000000000001" in trades.html, "numbers look the same in every language"
    assert "Wann der Handelsplatz ausgeführt hat, UTC" in trades.html
    refused = await send(boss, "/portfolios/create", {"name": "", "base_currency": "EUR"})
    assert refused.status_code == 422
    assert "Name muss ausgefüllt sein." in refused.text
    assert "Etwas stimmt noch nicht; nichts wurde geschrieben." in refused.text
    missing = await boss.get("/admin/nothing/list")
    assert missing.status_code == 404 and "Eine solche Tabelle gibt es nicht." in missing.text
    words = await nobody.get("/admin/words/de.js")
    assert '"Nothing was found.": "Nichts gefunden."' in words.text
    assert "immutable" in words.headers["cache-control"]
    assert (await nobody.get("/admin/words/xx.js")).status_code == 404


def test_a_rule_with_gaps_is_said_whole_and_an_unknown_one_in_english() -> None:
    german = Languages().named("de")
    assert german is not None
    with speaking(german):
        assert said_rule("be at most 50,000 records: narrow the list") == (
            "darf höchstens 50,000 Datensätze umfassen: Liste eingrenzen"
        )
        assert said_rule("be something that nobody wrote down") == (
            "must be something that nobody wrote down"
        )
        assert (
            gettext("") == "" and ngettext("%(num)s value", "%(num)s values", 2) == "%(num)s Werte"
        )
    assert said_rule("be filled in") == "must be filled in"


def test_scripts_say_nothing_past_the_catalogue() -> None:
    german = Languages().named("de")
    assert german is not None
    shown = re.compile(
        r"""(textContent|placeholder|title|"aria-label",)\s*[:=]?\s*["`][^"`$]*[A-Za-z]"""
    )
    planted = 'element.textContent = "Saved"; Object.assign(x, { placeholder: `Type` });'
    assert len(shown.findall(planted)) == 2
    for file in STATICS.glob("*.js"):
        source = file.read_text()
        assert [line for line in source.splitlines() if shown.search(line)] == [], file.name
        for message in re.findall(r'said\("([^"]+)"', source):
            assert f"{json.dumps(message)}: " in german.script, message


# ── catalogues ───────────────────────────────────────────────────────────────────────────────────


def _said(catalogue: Catalog) -> dict[Any, Any]:
    def plain(text: Any) -> Any:
        return tuple(text) if isinstance(text, list) else text

    def context(given: Any) -> Any:
        return given.decode() if isinstance(given, bytes) else given

    return {
        (context(said.context), plain(said.id)): plain(said.string) for said in catalogue if said.id
    }


def test_the_catalogues_are_current_whole_and_compiled(template: Catalog) -> None:
    hint = "run make messages, then translate what it names"
    assert _said(read(LOCALES / "tradekeep.pot")).keys() == _said(template).keys(), hint
    files = sorted(LOCALES.glob("*/LC_MESSAGES/tradekeep.po"))
    assert files
    for file in files:
        catalogue = read(file)
        assert _said(catalogue).keys() == _said(template).keys(), hint
        assert faults(catalogue) == [], hint
        assert _said(read(file.with_suffix(".mo"))) == _said(catalogue), hint


def test_a_wrong_translation_is_named() -> None:
    for text, string in (
        ("%(count)s set", "gesetzt"),
        ("%(count)s set", "%(number)s gesetzt"),
        ("run <code>x</code>", "x ausführen"),
        ("Save", ""),
    ):
        catalogue = Catalog(locale="de", fuzzy=False)
        catalogue.add(text, string)
        assert len(faults(catalogue)) == 1, (text, string)


async def test_an_application_brings_its_own_catalogue(tmp_path: Path) -> None:
    own = Catalog(locale="de", charset="utf-8", fuzzy=False)
    own.add("Save", "Sichern")
    own.add("Watchlists of the house", "Merklisten des Hauses")
    french = Catalog(locale="fr", charset="utf-8", fuzzy=False)
    french.add("Save", "Enregistrer")
    for tag, catalogue in (("de", own), ("fr", french)):
        file = tmp_path / tag / "LC_MESSAGES" / "house.mo"
        file.parent.mkdir(parents=True)
        file.write_bytes(compiled(catalogue))
    languages = Languages([tmp_path])
    assert sorted(language.tag for language in languages) == ["de", "en", "fr"]
    german, other = languages.named("de"), languages.named("fr")
    assert german is not None and other is not None
    with speaking(german):
        assert gettext("Save") == "Sichern", "what the house says comes first"
        assert gettext("Watchlists of the house") == "Merklisten des Hauses"
        assert gettext("Cancel") == "Abbrechen"
        assert '"Nichts gefunden."' in german.script
    with speaking(other):
        assert (gettext("Save"), gettext("Cancel")) == ("Enregistrer", "Cancel")


def test_the_tool_gathers_what_a_package_of_views_says(tmp_path: Path) -> None:
    folder = tmp_path / "locales"
    arguments = ["--package", "tests.admin.house", "--folder", str(folder), "--name", "house"]
    assert catalogues.main([*arguments, "--start", "de"]) == 1, "nothing is translated yet"
    said = _said(read(folder / "de" / "LC_MESSAGES" / "house.po"))
    assert (None, "Notes of the house") in said
    assert ("field", "Archived at") not in said, "we say that already"
