"""The HTTP API: thin routes over `jobs`, one place for errors, and the background services."""
