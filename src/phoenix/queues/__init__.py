"""Dispatch messages: how a ready task reaches a worker. Only this package uses arq. SQL, not Redis, is the truth."""
