"""Doorbells: how a waiting task reaches a worker. arq is confined to this room; SQL, not Redis, is the truth."""
