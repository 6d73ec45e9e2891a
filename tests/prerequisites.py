"""Says before the tests run what this machine lacks for some of them, and why they are skipped."""

import os
import shutil
import sys

NEEDED_BY_SOME = {
    "chromium": ("browser tests", "TRADEKEEP_REQUIRE_BROWSER"),
    "node": ("tests of TimescaleDB and TypeScript", "TRADEKEEP_REQUIRE_NODE"),
    "npm": ("tests of TimescaleDB and TypeScript", "TRADEKEEP_REQUIRE_NODE"),
}


def main() -> int:
    """Print what is missing; fail only when continuous integration says that it must be there."""
    missing = [name for name in NEEDED_BY_SOME if shutil.which(name) is None]
    for name in missing:
        use, _ = NEEDED_BY_SOME[name]
        print(f"note: {name} was not found, {use} are skipped; install it to run them")
    return int(any(os.environ.get(NEEDED_BY_SOME[name][1]) for name in missing))


if __name__ == "__main__":
    sys.exit(main())
