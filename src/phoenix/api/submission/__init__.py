"""Submission of every kind of job over HTTP."""
