"""Says before the tests run what this machine lacks for some of them, and why they are skipped."""

import os
import shutil
import sys

NEEDED_BY_SOME = {"chromium": "browser tests"}


def main() -> int:
    """Print what is missing; fail only when continuous integration says that it must be there."""
    missing = {name: use for name, use in NEEDED_BY_SOME.items() if shutil.which(name) is None}
    for name, use in missing.items():
        print(f"note: {name} was not found, {use} are skipped; install it to run them")
    return 1 if missing and os.environ.get("TRADEKEEP_REQUIRE_BROWSER") else 0


if __name__ == "__main__":
    sys.exit(main())
