"""What every API process does beside answering: feeding the queues and sweeping up. One replica at a time works."""
