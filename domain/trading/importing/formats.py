"""The file formats that can be imported, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.trading.importing import generic_csv, ibkr_flex, tastytrade
from domain.trading.importing.records import Parser

FORMATS: Final[Mapping[str, Parser]] = MappingProxyType(
    {
        "tastytrade": tastytrade.parse,
        "ibkr-flex": ibkr_flex.parse,
        "csv": generic_csv.parse,
    }
)
"""Parsers by the name that people use on the command line."""
