"""From an exception or invalid request to `application/problem+json`."""
