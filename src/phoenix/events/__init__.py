"""Event delivery: publication over Redis, fan-out to streams, and replay from the log that `jobs` keeps in SQL."""
