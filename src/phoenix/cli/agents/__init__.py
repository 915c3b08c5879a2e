"""`phoenix mcp`."""
