"""Users, their sessions, API keys, tokens and preferences."""
