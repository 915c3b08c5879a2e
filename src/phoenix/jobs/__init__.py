"""The domain: jobs and their tasks, one use case per file. Functions on a unit of work; nothing here commits."""
