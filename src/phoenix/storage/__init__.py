"""Stores files: one interface for local folders and S3-compatible stores."""
