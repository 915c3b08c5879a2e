"""Scrubs the environment before anything reads it, and loads the shared fixtures."""

import gc
import os
import signal
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

from phoenix.child_processes import die_with_parent

for name in list(os.environ):
    if name.startswith("PHOENIX_") or name in {
        "DATABASE_URL",
        "REDIS_URL",
        "PORT",
        "MAX_CONCURRENT_GENERATIONS",
    }:
        del os.environ[name]
# Each process with a database of its own would load the sentence model. The tests of the search switch it on.
os.environ["PHOENIX_SEARCH__MEANING"] = "off"

# By default an example that takes more than 0.2 s is a failure, which on a busy machine is one of the machine.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")

# By default rich would draw each traceback that a test logs, with all local variables, for seconds of CPU time.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# A shell that runs us in the background has us ignore Ctrl-C, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A quarter of the CPU time that it takes to import and collect the tests would be garbage collection.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    # A process of pytest-xdist would notice the end of its controller after ten seconds and more.
    if hasattr(config, "workerinput"):
        die_with_parent()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        # Engines and pytest collect garbage often. What was imported until here need not be looked through each time.
        gc.freeze()
        gc.enable()


# Before the first of them is imported: they import each other, in whatever order they are listed.
pytest.register_assert_rewrite("fixtures")
pytest_plugins: list[str] = [
    "fixtures.postgres_server",
    "fixtures.databases",
    "fixtures.workplace",
    "fixtures.colour_bars",
    "fixtures.media_files",
    "fixtures.gated_ffmpeg",
    "fixtures.log_lines",
    "fixtures.no_skips",
    "fixtures.order_of_files",
    "fixtures.api",
    "fixtures.callers",
    "fixtures.webhook_receiver",
    "fixtures.nginx",
    "fixtures.fleet",
    "fixtures.event_streams",
    "fixtures.redis_server",
    "fixtures.chromium",
    "fixtures.scripted_server",
    "fixtures.hub_server",
    "fixtures.up_process",
    "fixtures.client_tools",
    "fixtures.js_client",
    "fixtures.tiny_pipelines",
    "fixtures.veo_server",
    "fixtures.llm_server",
    "fixtures.s3_server",
    "fixtures.cloud_servers",
    "fixtures.stream_fleet",
    "fixtures.echo_frames",
]
