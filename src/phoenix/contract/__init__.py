"""The types of the HTTP API: requests, views, events, problems. Their docstrings are part of the OpenAPI document."""
