"""`phoenix keys`: API keys, in the configured database."""
