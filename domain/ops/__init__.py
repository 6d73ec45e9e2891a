"""Keeping an installation well: health, database preparation."""
