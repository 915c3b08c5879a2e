"""Authentication: API keys and stream tokens."""
