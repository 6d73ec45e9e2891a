"""News: articles, calendar events, and economic series as they were known on any day."""
