"""Glue between doorbells and `jobs`, `engine`, `media` and `storage`: processes that claim tasks and do them."""
