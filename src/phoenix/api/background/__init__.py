"""Background services of the API processes. The leader, one replica at a time, runs each service."""
