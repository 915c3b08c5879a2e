"""Turns exceptions and invalid requests into `application/problem+json`."""
