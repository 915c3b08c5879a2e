"""What administrators do with the fleet and with the jobs of other keys, and what operators see of both."""
