"""Every attack of the threat model has a test that bears its name."""

import ast
from pathlib import Path

import pytest

PROBES = {
    "u1": "an admin without a login",
    "c1": "a cookie that tells, or travels in the open",
    "c2": "a cookie that outlives its login",
    "c3": "a link that logs out",
    "c4": "what was planted before a login",
    "x1": "a form of another site",
    "x2": "an action behind a GET",
    "x3": "a login from another site",
    "l1": "guessing a password",
    "h1": "a forged host",
    "h2": "a redirect to elsewhere",
    "h3": "missing headers",
    "m1": "every column on a page",
    "m2": "a role through a form",
    "m3": "read-only by the page alone",
    "m4": "fields that no form has",
    "t1": "another tenant's row by its id",
    "t2": "another tenant's row deleted",
    "t3": "another tenant's rows as choices",
    "t4": "another tenant's row as a parent",
    "t5": "another tenant's values in a filter",
    "f1": "any file through a text column",
    "f2": "an absolute path",
    "f3": "a path that climbs",
    "f4": "a page out of an upload",
    "e1": "a formula in an export",
    "e2": "digits lost in an export",
    "e3": "numbers that JSON lacks",
    "i1": "SQL in an error",
    "i2": "an error in the address",
    "i3": "words put on a page by a link",
    "s1": "a stored script",
    "s2": "a stored script in a formatted value",
    "d": "malformed addresses",
    "n": "numbers that are none",
    "p1": "the same file twice",
    "p2": "imports and exports that nobody knows of",
    "p3": "rows lost between lines",
    "p4": "rows made up between lines",
    "p5": "an import into another tenant",
    "a1": "secrets in the history",
    "a2": "a change without its history",
    "a3": "an action without its history",
    "o1": "an update lost between two editors",
    "b1": "a body that fills the disk",
    "ws": "a socket of another site",
}


def names() -> list[str]:
    """Return the words of every test's name in this folder, as ``_a1_p2_…``."""
    folder = Path(__file__).parent
    return [
        node.name.removeprefix("test")
        for path in folder.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


@pytest.mark.parametrize("probe", PROBES)
def test_every_attack_is_tried(probe: str) -> None:
    assert [name for name in names() if f"_{probe}_" in name], PROBES[probe]
