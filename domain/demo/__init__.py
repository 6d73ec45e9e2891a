"""Demo data: real prices and a real broker file, traded by a few deterministic strategies.

Everything goes through the real importers and the real ledger; nothing is written by hand.
"""
