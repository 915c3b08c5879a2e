"""What happened: the attempts and the log of a job, and statistics that outlive the jobs."""
