"""What crosses the wire: requests, views, events and problems. Pydantic types and nothing else."""
