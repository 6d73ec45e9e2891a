"""Finds what a page says outside of the catalogue: a language whose every message stands in marks."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from babel.messages.catalog import Catalog

from admin.catalogues import compiled

OPEN, CLOSE = "⟦", "⟧"
_GAP = re.compile(r"(%\(\w+\)s)")
_TOLD = ("title", "aria-label", "placeholder", "alt", "data-confirm", "data-label")
_CODE = {"script", "style", "code", "pre", "datalist"}
_MACHINE = re.compile(r"\b[0-9a-f-]{6,}\b|\b[\w.]*[_.:/@][\w.:/@-]*|\b(?:UTC|null|[A-Z]{2,})\b")
_WORD = re.compile(r"[A-Za-z][a-z]+")


def marked_catalogue(template: Catalog, folder: Path) -> Path:
    """Write the catalogue of a language that says everything in marks, gaps outside of them."""
    marked = Catalog(locale="en_GB", charset="utf-8", fuzzy=False)
    for said in template:
        if said.id:
            forms = said.id if isinstance(said.id, tuple) else (said.id,)
            texts = tuple(_in_marks(form) for form in forms)
            text = texts if isinstance(said.id, tuple) else texts[0]
            marked.add(said.id, text, context=said.context)
    file = folder / "en_XA" / "LC_MESSAGES" / "marked.mo"
    file.parent.mkdir(parents=True)
    file.write_bytes(compiled(marked))
    return file


def _in_marks(text: str) -> str:
    if text == "lower":
        return "keep"
    gapped = _GAP.sub(lambda gap: f"{CLOSE}{gap[0]}{OPEN}", text)
    return f"{OPEN}{gapped}{CLOSE}"


class Unsaid(HTMLParser):
    """What a page says outside of marks: texts, and attributes that are read out or shown."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._depth = 0
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in _CODE
        self.found += [
            part for name, value in attrs if name in _TOLD and value for part in outside(value)
        ]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in _CODE

    def handle_data(self, data: str) -> None:
        if self._code:
            return
        parts = []
        for char in data:
            self._depth += (char == OPEN) - (char == CLOSE)
            parts.append(char if self._depth == 0 and char != CLOSE else "\n")
        self.found += [part.strip() for part in "".join(parts).split("\n") if part.strip()]


def outside(text: str) -> Iterator[str]:
    """Yield the parts of a text that stand outside of marks."""
    depth, part = 0, ""
    for char in text:
        depth += (char == OPEN) - (char == CLOSE)
        part += char if depth == 0 and char != CLOSE else "\n"
    yield from (piece.strip() for piece in part.split("\n") if piece.strip())


def unsaid(html: str, data: "Data") -> list[str]:
    """Return what a page says in English although its language is another one."""
    parts = (part for part in Unsaid(html).found if _WORD.search(part))
    return [part for part in parts if _WORD.search(data.taken_out(part))]


class Data:
    """What records hold: it is the same in every language.

    Args:
        values: Texts of the database, besides the words of closed vocabularies.
    """

    def __init__(self, values: set[str]) -> None:
        self._values = values
        self._known: dict[str, str] = {}
        longest = sorted((v for v in values if len(v) > 2), key=len, reverse=True)
        shown = "|".join(re.escape(value) for value in longest)
        self._held = re.compile(rf"(?<![A-Za-z])(?:{shown})(?![A-Za-z])")

    def taken_out(self, text: str) -> str:
        """Return what is left of a text without values, times and machine words."""
        plain = " ".join(text.split())
        if plain in self._values or plain.rstrip("…") in self._values:
            return ""
        if plain not in self._known:
            self._known[plain] = _MACHINE.sub(" ", self._held.sub(" ", plain))
        return self._known[plain]
