"""The command line: `tradekeep`. Parses arguments, opens a unit, prints; decides nothing itself."""

from domain.cli.app import main

__all__ = ["main"]
