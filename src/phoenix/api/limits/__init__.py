"""Limits per key across all replicas, kept in Redis. While Redis is away they let everybody through."""
