"""Scrubs the environment before anything reads it, and loads the shared fixtures."""

import os

for name in list(os.environ):
    if name.startswith("PHOENIX_") or name in {
        "DATABASE_URL",
        "REDIS_URL",
        "PORT",
        "MAX_CONCURRENT_GENERATIONS",
    }:
        del os.environ[name]

pytest_plugins: list[str] = ["fixtures.databases", "fixtures.workplace", "fixtures.media_files", "fixtures.no_skips", "fixtures.api", "fixtures.nginx", "fixtures.event_streams", "fixtures.redis_server", "fixtures.scripted_server", "fixtures.tiny_pipelines"]
