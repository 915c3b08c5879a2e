"""Accepting jobs: admission, quotas, idempotency, and the one transaction that writes a job."""
