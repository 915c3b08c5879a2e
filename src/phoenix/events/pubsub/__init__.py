"""Redis pub/sub: commands, one subscriber per process, the names of channels, and wake-up notifications."""
