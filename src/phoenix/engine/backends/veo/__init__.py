"""The Veo engine: renders with the service of Google, through the google-genai SDK. Each request is billed once."""
