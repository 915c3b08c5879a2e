"""What a worker records of an attempt, in addition to its outcome."""
