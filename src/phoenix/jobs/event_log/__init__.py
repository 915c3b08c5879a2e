"""The durable event log: numbers and writes events, and reads them for streams."""
