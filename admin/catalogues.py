"""Gathers what pages say and keeps the catalogues: ``python -m admin.catalogues``.

A tool for developers, which needs Babel; pages read the ``.mo`` files with the standard library.
What is said is found in the sources (`gettext`, `marked`, templates, scripts), in the declarations
of views and columns, and in the rules that errors of the domain tell.
"""

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final, NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from sqlalchemy import Boolean
from sqlalchemy.orm import Mapper

import admin
import domain
from admin.fields import described, named
from admin.permits import BESIDES
from admin.records import RecordView
from admin.translating import (
    FIELD,
    LOCALES,
    MONTHS,
    OWN_NAME,
    RULE,
    SCRIPT,
    WEEKDAYS,
    WORD,
    spaced,
)
from domain.audit.policies import history_of
from domain.db.types import ClosedText
from domain.identity.models import Role

_GAP: Final = re.compile(r"%\((\w+)\)s|</?[a-z]+>")
_SAID: Final = re.compile(r'\bsaid\(\s*"((?:[^"\\]|\\.)*)"')
_NO_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TELLING: Final = 7
_NOISE: Final = tuple(
    f'"{name}'.encode()
    for name in ("POT-", "PO-", "Report-", "Last-", "Language-Team", "Generated-")
)
_QUIET: Final = frozenset({"cache", "cli", "demo", "ops", "realtime", "storage", "testing"})
"""Rooms of the domain whose errors no page shows."""

_WORDS: Final = (
    *("ok", "slow", "pending", "unavailable", "unknown", "off", "bypassed", "bypassing"),
    *("light", "dark", "yes", "no", "insert", "update", "delete", "close", "buy", "sell"),
    *("login", "logout", "login failed", "second step failed"),
)
"""Words of lists that no column has."""


class Said(NamedTuple):
    """A message.

    Args:
        text: In English; with a plural: both forms.
        context: What tells it from the same words elsewhere.
        place: The file or the declaration that it stands in.
    """

    text: str | tuple[str, str]
    context: str | None
    place: str


# ── what is said ─────────────────────────────────────────────────────────────────────────────


def messages(package: Any = admin) -> Catalog:
    """Return every message of a package; of the admin, what the domain says too."""
    root = Path(next(iter(package.__path__)))
    found = Catalog(project=package.__name__, header_comment="# What is said.", fuzzy=False)
    for said in _everything(package, root):
        known = found.get(said.text, said.context)
        if known is not None and isinstance(said.text, str) and known.pluralizable:
            continue
        found.add(said.text, context=said.context, locations=[(said.place, 0)])
    return found


def _everything(package: Any, root: Path) -> Iterator[Said]:
    for file in sorted(root.rglob("*.py")):
        yield from in_source(file.read_text(encoding="utf-8"), _place(file, root))
    for file in sorted(root.rglob("templates/**/*.html")):
        yield from in_template(file.read_text(encoding="utf-8"), _place(file, root))
    for file in sorted(root.glob("statics/*.js")):
        for text in _SAID.findall(file.read_text(encoding="utf-8")):
            yield Said(text, SCRIPT, _place(file, root))
    yield from _declared(package.__name__)
    if package is admin:
        yield from _of_the_domain()
        yield from _of_the_house()


def _place(file: Path, root: Path) -> str:
    return file.relative_to(root.parent).as_posix()


def in_template(text: str, place: str) -> Iterator[Said]:
    """Yield what a template says."""
    reader: Any = Environment(extensions=["jinja2.ext.i18n"])  # noqa: S701 - nothing is rendered
    for _, name, given in reader.extract_translations(text):
        texts = [part for part in (given if isinstance(given, tuple) else (given,)) if part]
        if name == "ngettext":
            yield Said((texts[0], texts[1]), None, place)
        elif name == "pgettext":
            yield Said(texts[1], texts[0], place)
        elif texts:
            yield Said(texts[0], None, place)


def in_source(text: str, place: str, *, rules_only: bool = False) -> Iterator[Said]:
    """Yield what a module says: `gettext` and its like, refusals, form fields, rules."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            reading = _RULES.get(name) or (None if rules_only else _reading(name))
            for said, context in reading(node.args) if reading else ():
                yield Said(said, context, place)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            goal = node.targets[0] if isinstance(node, ast.Assign) else node.target
            target = getattr(goal, "id", "")
            if node.value and (target.lower().endswith("rule") or target == "broken"):
                yield from (Said(said, RULE, place) for said in _rule(node.value))


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _rule(node: ast.expr) -> Iterator[str]:
    """Yield a rule; one with gaps has ``%(a)s`` and ``%(b)s`` in their place."""
    if isinstance(node, ast.JoinedStr):
        gaps = iter("abcdefghij")
        # A rule that is little else than its gaps would fit to every other one.
        if sum(len(_text(part).strip()) for part in node.values) >= _TELLING:
            yield "".join(_text(part) or f"%({next(gaps)})s" for part in node.values)
    elif text := _text(node):
        yield text


def _invalid(args: Sequence[ast.expr]) -> Iterator[tuple[str, str]]:
    if args and (field := _text(args[0])) and field.isidentifier() and field.islower():
        yield named(field), FIELD
    yield from ((rule, RULE) for arg in args[2:3] for rule in _rule(arg))


def _fault(args: Sequence[ast.expr]) -> Iterator[tuple[str, str]]:
    yield from ((rule, RULE) for arg in args[3:4] for rule in _rule(arg))


def _wrong(args: Sequence[ast.expr]) -> Iterator[tuple[str, str]]:
    yield from ((rule, RULE) for arg in args[:1] for rule in _rule(arg))


def _plain(args: Sequence[ast.expr]) -> Iterator[tuple[str, str | None]]:
    if args and (text := _text(args[0])):
        yield text, (_text(args[1]) or None) if len(args) > 1 else None


def _many(args: Sequence[ast.expr]) -> Iterator[tuple[tuple[str, str], None]]:
    if len(args) > 1 and _text(args[0]):
        yield (_text(args[0]), _text(args[1])), None


def _contextual(args: Sequence[ast.expr]) -> Iterator[tuple[str, str | None]]:
    yield from _plain(list(reversed(args[:2])))


def _refusal(args: Sequence[ast.expr]) -> Iterator[tuple[str, None]]:
    yield from ((text, None) for arg in args[1:2] if (text := _text(arg)))


def _form_field(args: Sequence[ast.expr]) -> Iterator[tuple[str, str | None]]:
    for arg, context in zip(args[1:3], (FIELD, None), strict=False):
        if text := _text(arg):
            yield text, context


_RULES: Final[Mapping[str, Any]] = {"InvalidData": _invalid, "Fault": _fault, "_wrong": _wrong}
_READINGS: Final[Mapping[str, Any]] = {
    "gettext": _plain,
    "marked": _plain,
    "ngettext": _many,
    "pgettext": _contextual,
    "HTTPException": _refusal,
}


def _reading(name: str) -> Any:
    is_field = name.endswith("Field") and name != "Field"
    return _form_field if is_field else _READINGS.get(name)


# ── what is declared ─────────────────────────────────────────────────────────────────────────


def _views(kind: type[RecordView] = RecordView) -> Iterator[type[RecordView]]:
    for view in kind.__subclasses__():
        yield view
        yield from _views(view)


def _declared(package: str) -> Iterator[Said]:
    for kind in _views():
        if f"{kind.__module__}.".startswith(f"{package}."):
            yield from (Said(text, context, kind.__name__) for text, context in _of_view(kind))


def _of_view(kind: type[RecordView]) -> Iterator[tuple[str, str | None]]:
    view = kind()
    plain = [view.name, view.name_plural, view.category, view.about]
    plain += [view.hint_about, view.search_hint, *(legend for legend, _ in view.sections)]
    plain += [*(item.label for item in view.inlines), *(item.label for item in view.related)]
    plain += [text for act in view.bulk_actions for text in (act.label, act.question)]
    yield from ((text, None) for text in plain if text)
    yield from ((spaced(action), WORD) for action in view.actions())
    mapper: Mapper[Any] = view.mapper
    yield from ((named(name), FIELD) for name in (*mapper.column_attrs.keys(), *view.columns))
    for attribute in mapper.column_attrs:
        column: Any = attribute.columns[0]
        if text := described(column):
            yield text, None
        if isinstance(column.type, ClosedText):
            yield from ((spaced(word.value), WORD) for word in column.type.vocabulary)
        elif isinstance(column.type, Boolean):
            yield from (("yes", WORD), ("no", WORD))
    history = history_of(view.table)
    if history is not None and history.why:
        yield history.why, None


def _of_the_domain() -> Iterator[Said]:
    root = Path(next(iter(domain.__path__)))
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] not in _QUIET:
            yield from in_source(
                file.read_text(encoding="utf-8"), _place(file, root), rules_only=True
            )


def _of_the_house() -> Iterator[Said]:
    """Yield what stands in lists that no source tells: roles, permissions, months."""
    words = [*Role, *BESIDES, *(action for actions in BESIDES.values() for action in actions)]
    yield from (Said(spaced(word), WORD, "words") for word in (*words, *_WORDS))
    yield from (Said(name, "month", "calendars") for name in MONTHS)
    yield from (Said(name, "weekday", "calendars") for name in WEEKDAYS)
    yield Said("lower", "names of tables inside a sentence", "lower or keep")
    yield Said(OWN_NAME[1], OWN_NAME[0], "such as Deutsch")


# ── catalogues ───────────────────────────────────────────────────────────────────────────────


def faults(catalogue: Catalog) -> list[str]:
    """Return what is wrong with a catalogue: what is missing, and gaps that are not the same."""
    return [
        f"{catalogue.locale}: {fault}: {said.id}"
        for said in catalogue
        if said.id and (fault := _fault_of(said))
    ]


def _fault_of(said: Any) -> str:
    texts = said.string if isinstance(said.string, tuple | list) else (said.string,)
    if not all(texts):
        return "has no translation"
    if said.fuzzy:
        return "is only a guess"
    forms = said.id if isinstance(said.id, tuple | list) else (said.id,)
    allowed = [sorted(_GAP.findall(form)) for form in forms]
    tags = [sorted(set(re.findall(r"</?[a-z]+>", form))) for form in forms]
    for text in texts:
        if sorted(_GAP.findall(text)) not in allowed:
            return "has other gaps than the source"
        if sorted(set(re.findall(r"</?[a-z]+>", text))) not in tags:
            return "has other marks than the source"
    return ""


def read(file: Path) -> Catalog:
    """Return the catalogue of a ``.po`` or a ``.mo`` file."""
    with file.open("rb") as source:
        if file.suffix == ".mo":
            return read_mo(source)
        return read_po(source, locale=file.parent.parent.name if "LC" in str(file) else None)


def compiled(catalogue: Catalog) -> bytes:
    """Return a catalogue as pages read it; the same catalogue gives the same bytes."""
    file = BytesIO()
    catalogue.creation_date = catalogue.revision_date = _NO_DAY
    write_mo(file, catalogue)
    return file.getvalue()


def refresh(folder: Path, name: str, template: Catalog) -> list[str]:
    """Write the template, take it into each language's catalogue, and compile what is there.

    Returns:
        What is wrong with the catalogues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{name}.pot", template)
    wrong = []
    for file in sorted(folder.glob(f"*/LC_MESSAGES/{name}.po")):
        catalogue = read(file)
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        _write(file, catalogue)
        file.with_suffix(".mo").write_bytes(compiled(catalogue))
        wrong += faults(catalogue)
    return wrong


def _write(file: Path, catalogue: Catalog) -> None:
    text = BytesIO()
    write_po(text, catalogue, sort_output=True, width=100)
    # The day of writing would change the file when nothing in it did.
    lines = [line for line in text.getvalue().split(b"\n") if not line.startswith(_NOISE)]
    file.write_bytes(b"\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Refresh the catalogues; return 1 when something is missing in them."""
    parser = argparse.ArgumentParser(prog="python -m admin.catalogues", description=__doc__)
    parser.add_argument("--package", default="admin", help="what is read: a package with views")
    parser.add_argument("--folder", type=Path, default=LOCALES, help="where the catalogues are")
    parser.add_argument("--name", default="tradekeep", help="name of the files")
    parser.add_argument("--start", metavar="LANGUAGE", help="begin the catalogue of a language")
    given = parser.parse_args(arguments)
    importlib.import_module("admin.site")
    template = messages(importlib.import_module(given.package))
    if given.package != admin.__name__:
        for said in read(LOCALES / "tradekeep.pot"):
            template.delete(said.id, said.context)
    if given.start:
        file = given.folder / given.start / "LC_MESSAGES" / f"{given.name}.po"
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, Catalog(locale=given.start, project="tradekeep", fuzzy=False))
    wrong = refresh(given.folder, given.name, template)
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
