"""Webhook deliveries as rows: written with the event, sent later, retried and replayed."""
