"""Background work of the API processes, such as feeding the queues. One replica at a time does each chore."""
