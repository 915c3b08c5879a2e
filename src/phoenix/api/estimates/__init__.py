"""What a reel would take and cost: the decisions of a submission, without the job."""
