"""The routes under `/v1/videos`, which OpenAI's SDKs call."""
