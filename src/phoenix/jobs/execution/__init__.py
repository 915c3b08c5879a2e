"""Attempts at tasks: claim, renewal, completion, retry and recovery, each in one transaction."""
