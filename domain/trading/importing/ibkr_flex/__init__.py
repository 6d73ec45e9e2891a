"""Activity Flex Queries of Interactive Brokers, as XML.

`statement` reads a file; `elements` gets the rows out of the XML, `times` knows the zone, and
`instruments`, `trades`, `cash`, `corporate_actions`, `option_events` and `transfers` read one kind
of row each.
"""

from domain.trading.importing.ibkr_flex.statement import parse

__all__ = ["parse"]
