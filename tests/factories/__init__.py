"""Makes realistic records for tests, one file an area."""
