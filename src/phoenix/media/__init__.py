"""Encodes, joins, measures and probes media files. Independent of jobs, storage and engines."""
