"""Joins clips to a reel, pictures and sound."""
