"""`phoenix lipsync`."""
