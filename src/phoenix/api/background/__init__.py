"""Background services of the API processes. One replica at a time, the leader, runs each."""
