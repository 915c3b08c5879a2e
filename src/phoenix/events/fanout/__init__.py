"""Fan-out inside one process: from one subscription per topic to a bounded buffer per client."""
