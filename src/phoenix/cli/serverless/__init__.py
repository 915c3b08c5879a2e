"""A complete Phoenix in one container, which serves the jobs of a serverless platform. Each job is one reel."""
