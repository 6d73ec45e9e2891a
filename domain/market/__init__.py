"""Instruments and what they trade at: currencies, bars, latest prices, FX, corporate actions."""
