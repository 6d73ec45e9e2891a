"""Broker files become records: bytes in, trades, cash movements and refused rows out.

The parsers are pure: no database, no clock, no settings. `records` is what they hand over,
`formats` lists them by name, and `domain.trading.importing.booking` writes the records.
"""
