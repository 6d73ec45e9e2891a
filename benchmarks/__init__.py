"""Ratios against peers, measured in one interleaved run; never a clock in a test."""
