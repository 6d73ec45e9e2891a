"""Portfolios, trades, positions, lots, cash and profit."""
