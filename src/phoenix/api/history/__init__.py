"""Routes about what happened: the attempts and the log of a job, statistics and usage."""
