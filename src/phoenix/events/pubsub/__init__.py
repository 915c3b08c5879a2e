"""Redis pub/sub: one connection per process, its channels, and wake-up notifications."""
