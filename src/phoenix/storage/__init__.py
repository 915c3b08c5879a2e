"""Stored files: one interface over a local folder and S3-compatible stores. Knows bytes, not media."""
