"""Logs, metrics and trace context for operators. Knows nothing about jobs except their ids."""
