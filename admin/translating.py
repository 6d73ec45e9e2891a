"""The language of a request, and its words: catalogues of gettext, chosen once for each request.

English stands in the code and needs no catalogue. What is declared once and shown often, such as
the name of a table, is English where it is declared and translated where it is shown. Numbers and
times look the same in every language. The catalogues are made by `admin.catalogues`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from gettext import GNUTranslations
from pathlib import Path
from typing import Final

LOCALES: Final = Path(__file__).parent / "locales"
"""Our own catalogues: ``de/LC_MESSAGES/tradekeep.mo``."""

FIELD, WORD, RULE, SCRIPT = "field", "word", "rule", "script"
"""Contexts of messages: labels of columns, words of vocabularies, rules after "must", scripts."""

OWN_NAME: Final = ("name of this language", "English")
"""What a language calls itself: ``Deutsch``."""

_RIGHT_TO_LEFT: Final = frozenset({"ar", "ckb", "dv", "fa", "he", "ps", "sd", "syr", "ur", "yi"})
_LONGEST_HEADER: Final = 400
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
_WEIGHT: Final = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")
MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""Short names, in English."""

_GAP: Final = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True)
class Language:
    """A language that pages are shown in.

    Args:
        tag: As browsers write it, such as ``de`` or ``pt-BR``.
        name: What it calls itself.
        words: Its catalogue; English has none.
    """

    tag: str = "en"
    name: str = "English"
    words: GNUTranslations | None = field(default=None, compare=False, repr=False)

    @property
    def direction(self) -> str:
        """Where its lines run: ``ltr`` or ``rtl``."""
        return "rtl" if self.tag.partition("-")[0].lower() in _RIGHT_TO_LEFT else "ltr"

    @cached_property
    def script(self) -> str:
        """What scripts say in it, as a script that a page loads before the others."""
        found = {message: text for message, text in _said_by_scripts(self.words) if text}
        table = json.dumps(found, ensure_ascii=True, sort_keys=True).replace("<", r"\u003c")
        return f'"use strict";\nglobalThis.tradekeepWords = {table};\n'

    @cached_property
    def edition(self) -> str:
        """A word that changes with `script`, so that browsers may keep it for long."""
        return hashlib.sha256(self.script.encode()).hexdigest()[:12]

    @cached_property
    def patterns(self) -> Sequence[tuple[re.Pattern[str], str]]:
        """Rules with gaps, such as ``be at most %(1)s rows``, and what they are called here."""
        found = [item for item in _entries(self.words, RULE) if "%(" in item[0]]
        # What says more is meant: "be at most %(a)s rows" before "be at most %(a)s".
        found.sort(key=lambda item: len(item[0]), reverse=True)
        return [(_matcher(message), text) for message, text in found]


ENGLISH: Final = Language()

_SPOKEN: ContextVar[Language] = ContextVar("tradekeep_language", default=ENGLISH)


def language() -> Language:
    """Return the language of this request; English outside of one."""
    return _SPOKEN.get()


@contextmanager
def speaking(chosen: Language) -> Iterator[None]:
    """Say everything in `chosen` until the block ends."""
    token = _SPOKEN.set(chosen)
    try:
        yield
    finally:
        _SPOKEN.reset(token)


# ── what is said ─────────────────────────────────────────────────────────────────────────────


def gettext(message: str, **gaps: object) -> str:
    """Return a message in the language of this request.

    Args:
        message: In English.
        gaps: What stands in gaps such as ``%(name)s``.

    Example:
        >>> gettext("Save")
        'Save'
    """
    words = _SPOKEN.get().words
    # The empty message is the catalogue's own header.
    said = message if words is None or not message else words.gettext(message)
    return said % gaps if gaps else said


def ngettext(one: str, many: str, number: int) -> str:
    """Return the form of a message that goes with a number."""
    words = _SPOKEN.get().words
    if words is None:
        return one if number == 1 else many
    return words.ngettext(one, many, number)


def pgettext(context: str, message: str) -> str:
    """Return a message that means something else elsewhere, in the language of this request."""
    words = _SPOKEN.get().words
    return message if words is None else words.pgettext(context, message)


def npgettext(context: str, one: str, many: str, number: int) -> str:
    """Return the form that goes with a number, of a message that means something else elsewhere."""
    words = _SPOKEN.get().words
    if words is None:
        return one if number == 1 else many
    return words.npgettext(context, one, many, number)


def marked(message: str, _context: str = "") -> str:
    """Return a message as it is: it stands in a constant and is translated where it is shown.

    Args:
        message: The message.
        _context: What it is translated with, when it means something else elsewhere.
    """
    return message


def label(text: str) -> str:
    """Return the label of a column: ``Open`` is a price here, and no button."""
    return pgettext(FIELD, text)


def word(text: str) -> str:
    """Return a word of a vocabulary as people read it: ``pct_change`` as ``percent change``."""
    return _word(_SPOKEN.get().words, text)


@lru_cache(maxsize=4_096)
def _word(words: GNUTranslations | None, text: str) -> str:
    # A list has hundreds of them, of a few kinds.
    plain = spaced(text)
    return plain if words is None else words.pgettext(WORD, plain)


def spaced(text: str) -> str:
    """Return ``pct_change`` as ``percent change``."""
    return " ".join("percent" if part == "pct" else part for part in text.split("_"))


def month_name(number: int) -> str:
    """Return the short name of a month, from 1."""
    return pgettext("month", MONTHS[number - 1])


def weekday_name(number: int) -> str:
    """Return the short name of a weekday, from 0 for Monday."""
    return pgettext("weekday", WEEKDAYS[number])


def inside(name: str) -> str:
    """Return the name of a table as it stands inside a sentence.

    English writes it small, unless it begins with an abbreviation. A language says ``lower`` or
    ``keep`` for itself.
    """
    said = gettext(name)
    if pgettext("names of tables inside a sentence", "lower") == "keep" or said[:2].isupper():
        return said
    return said.lower()


def said_rule(rule: str) -> str:
    """Return a rule as it is read after the name of what breaks it: ``must be filled in``.

    A rule that the catalogue does not have is said in English.
    """
    if rule[:1].isupper():
        return gettext(rule)
    said = pgettext(RULE, rule)
    if said != rule:
        return said
    for pattern, text in language().patterns:
        if found := pattern.fullmatch(rule):
            return text % found.groupdict()
    return f"must {rule}"


# ── which language ───────────────────────────────────────────────────────────────────────────


class Languages:
    """The languages that an installation has.

    Args:
        folders: Folders of catalogues besides our own, as ``de/LC_MESSAGES/house.mo``. What the
            first one says wins, then what the next ones say, then what we say.
        default: The language of who asks for none that is there.
    """

    def __init__(self, folders: Sequence[Path] = (), *, default: str = "en") -> None:
        self._known = {"en": ENGLISH}
        for folder in [*folders, LOCALES]:
            for file in sorted(folder.glob("*/LC_MESSAGES/*.mo")):
                self.add(file)
        self.default = self.named(default) or ENGLISH

    def add(self, file: Path) -> None:
        """Take in a catalogue; what an earlier one says already stays as it is."""
        tag = file.parent.parent.name.replace("_", "-")
        with file.open("rb") as source:
            words = GNUTranslations(source)
        known = self._known.get(tag.lower())
        if known is not None and known.words is not None:
            known.words.add_fallback(words)
            return
        own = words.pgettext(*OWN_NAME)
        name = tag if own == OWN_NAME[1] else own
        self._known[tag.lower()] = Language(tag, name, words)

    def __iter__(self) -> Iterator[Language]:
        return iter(self._known.values())

    def named(self, tag: str) -> Language | None:
        """Return the language of a tag; ``de-AT`` is German where there is no Austrian."""
        wanted = tag.replace("_", "-").lower()
        return self._known.get(wanted) or self._known.get(wanted.partition("-")[0])

    def chosen(self, own: str, accepted: str) -> Language:
        """Return the language of a request.

        Args:
            own: What the person chose; empty when nothing was chosen or nobody is known.
            accepted: The header Accept-Language.
        """
        for tag in (own, *preferences(accepted)) if own else preferences(accepted):
            if known := self.named(tag):
                return known
        return self.default


def preferences(header: str) -> list[str]:
    """Return the languages of an Accept-Language, best first; what is none is left out.

    Example:
        >>> preferences("en;q=0.5, de-AT, *;q=0.1")
        ['de-AT', 'en']
    """
    found = []
    for part in header[:_LONGEST_HEADER].split(","):
        tag, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=") or "1"
        if _TAG.fullmatch(tag.strip()) and _WEIGHT.fullmatch(weight) and float(weight) > 0:
            found.append((-float(weight), tag.strip()))
    return [tag for _, tag in sorted(found, key=lambda item: item[0])]


# ── what a catalogue holds ───────────────────────────────────────────────────────────────────


def _entries(words: GNUTranslations | None, context: str) -> Iterator[tuple[str, str]]:
    """Yield the messages of a context with their translations; the first catalogue wins."""
    seen: set[str] = set()
    while words is not None:
        entries: Mapping[object, str] = vars(words).get("_catalog", {})
        for key, text in entries.items():
            given, _, message = key.partition("\x04") if isinstance(key, str) else ("", "", "")
            if message and given == context and message not in seen:
                seen.add(message)
                yield message, text
        words = vars(words).get("_fallback")


def _said_by_scripts(words: GNUTranslations | None) -> Iterator[tuple[str, str]]:
    return _entries(words, SCRIPT)


def _matcher(message: str) -> re.Pattern[str]:
    parts = _GAP.split(message)
    texts = [
        f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    ]
    return re.compile("".join(texts), re.DOTALL)
