"""Facts on their way to others: the transactional outbox."""
