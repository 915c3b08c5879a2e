"""A whole Phoenix in one container that answers the jobs of a serverless platform, one reel each."""
