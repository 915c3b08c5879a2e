"""Commands that show what happened: attempts and logs of jobs, statistics and usage."""
