"""What docs/asvs.md claims is shown by tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) [^|]+ \| [^|]+ \| (\S+)::(\w+) \|$")


def test_every_claim_names_a_test_that_exists() -> None:
    lines = (ROOT / "docs" / "asvs.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| Requ")]
    claims = [ROW.fullmatch(line) for line in rows]
    assert len(claims) > 30 and None not in claims
    for claim in claims:
        assert claim is not None
        tree = ast.parse((ROOT / claim[2]).read_text())
        names = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert claim[3] in names, claim[0]
