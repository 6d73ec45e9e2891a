"""axe-core for the browser tests: what a screen reader, a keyboard or weak eyes would stumble over."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

_FOLDER: Final = Path(__file__).parent
_SCRIPT: Final = _FOLDER / "node_modules" / "axe-core" / "axe.min.js"
_INSTALL: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_ALIKE: Final = ["tbody tr:nth-child(n+9)", "li:nth-child(n+13)"]
"""Lines of a table or list after the first few, which are made like them."""

_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def missing() -> str | None:
    """Return why accessibility cannot be tested here, None when it can; installs what npm has."""
    if _SCRIPT.is_file():
        return None
    if shutil.which("npm") is None:
        return "npm was not found"
    done = subprocess.run(
        _INSTALL, cwd=_FOLDER, capture_output=True, text=True, timeout=300, check=False
    )
    return (
        f"npm could not install axe-core: {done.stderr.strip()[-200:]}" if done.returncode else None
    )


async def violations(page: Page) -> list[str]:
    """Return what breaks WCAG 2.2 AA on a page, seriously: rule, impact and the first element."""
    # The strict policy forbids injected scripts; an isolated evaluation is none.
    await page.evaluate(_SCRIPT.read_text())
    return await _run(page, {"type": "tag", "values": _RULES})


async def contrasts(page: Page) -> list[str]:
    """Return what is hard to see on a page that was judged before, in another theme."""
    return await _run(page, {"type": "rule", "values": ["color-contrast"]})


async def _run(page: Page, rules: dict[str, Any]) -> list[str]:
    found = await page.evaluate(
        "([rules, alike]) => axe.run({exclude: alike},"
        " {runOnly: rules, resultTypes: ['violations'], preload: false})",
        [rules, _ALIKE],
    )
    return [
        f"{item['id']} ({item['impact']}): {item['nodes'][0]['html'][:200]}"
        for item in found["violations"]
        if item["impact"] in {"serious", "critical"}
    ]
