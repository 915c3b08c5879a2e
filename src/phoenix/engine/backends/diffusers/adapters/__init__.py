"""Adapters of requests: their files, and the module trees that they act in."""
