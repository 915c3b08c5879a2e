"""Events on their way: doorbells over Redis, fan-out to streams, replay from the log that `jobs` keeps in SQL."""
