"""Research: watchlists, screeners, analyses, metrics and a searchable knowledge base."""
