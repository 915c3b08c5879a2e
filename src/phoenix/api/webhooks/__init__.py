"""Sending webhooks. What is to be sent, and the outcome of each try, are recorded by `jobs`."""
