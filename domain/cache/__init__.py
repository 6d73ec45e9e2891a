"""Answers that are kept in Redis and never older than a commit."""
