"""Limits that hold for one key over all replicas, kept in Redis. While Redis is away they let everybody through."""
