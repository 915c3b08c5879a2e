"""The domain: jobs and their tasks. Use cases are functions on a unit of work; none of them commits."""
