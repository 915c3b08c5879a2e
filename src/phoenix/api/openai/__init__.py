"""`/v1/videos`, the routes that OpenAI's packages call."""
