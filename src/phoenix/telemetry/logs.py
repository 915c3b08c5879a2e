"""Structured logs. Every line of a request has its request id, and so have the lines of the work that it caused."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import structlog

from phoenix.telemetry.collected_lines import collecting

MAX_VALUE_LENGTH = 2000
"""Longer values, such as prompts or tracebacks, are cut, so that one line cannot fill a disk."""


_OWN = "phoenix"
"""The first part of the name of each of our loggers."""


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    return structlog.stdlib.get_logger(name)


@contextmanager
def log_context(**values: Any) -> Generator[None]:
    """Adds values such as `request_id` and `job_id` to every line logged in the block, and in tasks started there."""
    with structlog.contextvars.bound_contextvars(**values):
        yield


def configure_logs(*, level: str, json_lines: bool) -> None:
    """Sends structlog and the standard library's loggers to stderr in one form. Call once per process.

    `level` is for the lines of Phoenix. Other libraries log at INFO and above.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _drop_coloured_copy,
        _cut_long_values,
        collecting,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(json_lines=json_lines)],
        )
    )
    handler.addFilter(_is_no_detail_of_a_library)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))
    logging.getLogger(_OWN).setLevel(level)
    # sse-starlette logs each chunk at DEBUG, and httpx logs each request at INFO with its query string (and token). arq
    # logs each dispatch message, and the worker's own lines say more about it.
    for noisy in ("sse_starlette", "httpx", "httpcore", "arq"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _is_no_detail_of_a_library(record: logging.LogRecord) -> bool:
    """Whether a line is ours, or important enough: at DEBUG, SQLite's driver logs each bound value, secrets included.

    The level of the root logger does the same at a lower price, but not for a logger to which its library gave a level.
    """
    return record.levelno >= logging.INFO or record.name.partition(".")[0] == _OWN


def _renderers(*, json_lines: bool) -> list[structlog.typing.Processor]:
    if json_lines:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # By default rich would draw each traceback with the local variables of each frame, secrets included, and take up to
    # seven seconds of CPU time for it.
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]


def _drop_coloured_copy(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Removes the copy with terminal escape codes that uvicorn adds to each of its messages."""
    event.pop("color_message", None)
    return event


def _cut_long_values(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = cut_middle(value)
    return event


def cut_middle(text: str) -> str:
    """Shortens a text to about `MAX_VALUE_LENGTH` characters, keeping both ends: a traceback names its cause last."""
    if len(text) <= MAX_VALUE_LENGTH:
        return text
    half = MAX_VALUE_LENGTH // 2
    return f"{text[:half]} … {text[-half:]}"
