"""Cuts a Markdown document into parts that stand under one heading. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 1_600
"""Characters of a part: about 400 tokens, which every common embedding model takes."""

_HEADING: Final = re.compile(r"(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_SEPARATOR: Final = " > "


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document.

    Args:
        heading: The headings above it, outermost first, joined by ``>``; empty above the first.
        content: Its text, without the heading.
    """

    heading: str
    content: str


def chunks_of(text: str, *, longest: int = LONGEST) -> list[Chunk]:
    """Return the parts of a Markdown document in its order; every line of text is in one of them.

    A section that is too long is cut between paragraphs, a paragraph that is too long between
    words. Lines inside code fences are no headings.

    Args:
        text: Markdown.
        longest: Characters of a part.

    Example:
        >>> chunks_of("## Covered call" + chr(10) + "Sell a call.")
        [Chunk(heading='Covered call', content='Sell a call.')]
    """
    return [
        Chunk(heading, piece)
        for heading, body in _sections(text)
        for piece in _pieces(body.strip("\n"), longest)
    ]


def title_of(text: str) -> str | None:
    """Return the first heading of a document, or None."""
    for line in text.splitlines():
        found = _HEADING.fullmatch(line)
        if found and found[2]:
            return found[2]
    return None


def _sections(text: str) -> Iterator[tuple[str, str]]:
    above: list[tuple[int, str]] = []
    body: list[str] = []
    fence = ""
    for line in text.splitlines():
        fence = _fence_after(fence, line)
        found = None if fence else _HEADING.fullmatch(line)
        if found is None:
            body.append(line)
            continue
        yield _path(above), "\n".join(body)
        body = []
        depth = len(found[1])
        above = [*(item for item in above if item[0] < depth), (depth, found[2])]
    yield _path(above), "\n".join(body)


def _fence_after(fence: str, line: str) -> str:
    """Return the fence that is open after `line`: only one as long of its own kind closes it."""
    found = _FENCE.match(line)
    if found is None:
        return fence
    if not fence:
        return found[1]
    is_closing = found[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if is_closing else fence


def _path(above: list[tuple[int, str]]) -> str:
    return _SEPARATOR.join(title for _, title in above if title)


def _pieces(body: str, longest: int) -> Iterator[str]:
    piece = ""
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", body):
        for part in _parts(paragraph, longest):
            joined = f"{piece}\n\n{part}" if piece else part
            if len(joined) <= longest:
                piece = joined
            else:
                yield piece
                piece = part
    if piece.strip():
        yield piece


def _parts(paragraph: str, longest: int) -> Iterator[str]:
    rest = paragraph
    while len(rest) > longest:
        cut = max(rest.rfind(" ", 1, longest), rest.rfind("\n", 1, longest))
        cut = longest if cut <= 0 else cut
        yield rest[:cut]
        rest = rest[cut:].lstrip(" \n")
    if rest.strip():
        yield rest
