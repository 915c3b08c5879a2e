"""The durable event log as streams read it; `jobs.event_log` implements it in SQL."""
