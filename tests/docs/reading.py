"""Reads Markdown pages: their code, their headings and their links. Executes nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (?P<title>.+)$", re.MULTILINE)
COMMAND = re.compile(r"^\$ (?P<command>.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where its first line stands in the page."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A line of a console block and what the page shows that it prints."""

    line: str
    output: str


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(PAGES.rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(PAGES if page.is_relative_to(PAGES) else ROOT))


def blocks(page: Path, language: str) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        if found["language"] == language:
            yield Block(language, found["text"], text[: found.start("text")].count("\n") + 1)


def commands(page: Path) -> Iterator[Command]:
    for block in blocks(page, "console"):
        line, output = None, ""
        for text in block.text.splitlines():
            found = COMMAND.match(text)
            if found is None:
                output += f"{text}\n"
                continue
            if line is not None:
                yield Command(line, output)
            line, output = found["command"], ""
        if line is not None:
            yield Command(line, output)


def links(page: Path) -> Iterator[str]:
    for found in LINK.finditer(FENCE.sub("", page.read_text())):
        if "://" not in found["target"] and not found["target"].startswith("mailto:"):
            yield found["target"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = (found["title"] for found in HEADING.finditer(FENCE.sub("", page.read_text())))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def table_rows(page: Path) -> Iterator[list[str]]:
    """Yield the cells of every table row that begins with code."""
    for line in FENCE.sub("", page.read_text()).splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]
