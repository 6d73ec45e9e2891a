"""The transaction history that tastytrade (earlier: tastyworks) exports as CSV.

`statement` reads a file; `columns` says what its header means, `instruments` what was traded,
`trades`, `deliveries` and `cash` read one kind of row each, and `conversions` pairs the rows of
symbol changes, mergers and splits.
"""

from domain.trading.importing.tastytrade.statement import parse

__all__ = ["parse"]
