"""Sending what jobs asked to be told of. What is to be sent, and what came of it, is written down in `jobs`."""
