"""The trading journal: what a trader planned, did, felt and learned, tied to the ledger."""
