"""Background services. One process at a time, the leader, runs each service: an API replica or `phoenix background`."""
