"""The audit log: what changed, who changed it, and proof that nobody changed the log since."""
