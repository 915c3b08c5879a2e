"""Event delivery: publication over Redis, fan-out to streams, replay from the log that `jobs` keeps in SQL."""
