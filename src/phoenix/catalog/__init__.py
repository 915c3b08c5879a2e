"""Which models exist, what each can do, and whether a request can be fulfilled. No torch; no I/O but its TOML."""
