"""The pictures of the guide: each is shown, each can be taken anew, and together they are small."""

import re

from tests.admin.looks import LOOKS
from tests.docs.reading import ROOT, pages

PICTURES = ROOT / "docs" / "screenshots"
NAME = re.compile(r"screenshots/([\w.-]+)")


def test_every_picture_is_shown_somewhere_and_every_shown_one_exists() -> None:
    shown = {name for item in pages() for name in NAME.findall(item.read_text(encoding="utf-8"))}
    assert shown == {path.name for path in PICTURES.iterdir()}


def test_every_picture_is_one_that_make_screenshots_takes() -> None:
    taken = {
        f"{look.name}-{theme}-{width}.webp"
        for look in LOOKS
        for theme in ("light", "dark")
        for width in ((390,) if look.is_phone else (1440, 390))
    }
    assert {path.name for path in PICTURES.iterdir()} <= taken
    assert len({look.name for look in LOOKS}) == len(LOOKS)


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 3_000_000
