"""Logs and metrics: what an operator sees. Knows nothing of jobs beyond their ids."""
