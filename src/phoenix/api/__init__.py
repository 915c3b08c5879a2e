"""The HTTP face of Phoenix: thin routes over `jobs`, one place for errors, and the background services."""
