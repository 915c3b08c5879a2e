"""Cuts, joins, measures and probes sound and pictures: files and commands, nothing of jobs, storage or engines."""
