"""Where commands write, and how a failed command ends.

Results go to stdout, everything else to stderr. User text is shown without control codes. A failed command prints the
reason, and ends with an exit status for scripts.
"""

import json
import os
import signal
import tomllib
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from phoenix.client import PhoenixClientError, PhoenixProblem, PhoenixUnreachable
from phoenix.contract import Job, JobState, ProblemFault
from phoenix.errors import FieldError, InvalidRequest, PhoenixError, ProblemCode, SchemaOutdated, Unavailable
from phoenix.settings import UNPREFIXED_NAMES, Settings, load_settings

# No markup: a prompt may contain text that looks like markup.
out = Console(markup=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """Prints one JSON document in the shape of the API."""
    plain = (
        value.model_dump(mode="json") if isinstance(value, BaseModel) else [v.model_dump(mode="json") for v in value]
    )
    print(json.dumps(plain, indent=2, ensure_ascii=False))


def printable(text: str, max_length: int | None = None) -> str:
    """`text` on one line, without the control characters that a terminal interprets."""
    line = "".join(char if char.isprintable() else " " for char in text).strip()
    if max_length is not None and len(line) > max_length:
        return line[: max_length - 1] + "…"
    return line


def clip_number(index: int) -> int:
    """The number of a clip for people, who count from 1. Pointers and URLs have the index."""
    return index + 1


def format_seconds(seconds: float | None) -> str:
    """`8.2 s`, `3:05`, `1:02:03`, or a dash."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def format_gigabytes(size_bytes: int) -> str:
    """`14.7 GB`, in decimal gigabytes like the data sheets of devices."""
    return f"{size_bytes / 1e9:.1f} GB"


def format_bytes(size_bytes: int) -> str:
    """`512 B`, `14.7 MB`, in decimal units."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.95 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


FAILED = 1
USAGE = 2
INTERRUPTED = 130
TERMINATED = 128 + signal.SIGTERM

NEWER_SCHEMA = "A newer version of Phoenix has migrated the database. It stays as it is; this version works with it."


def read_settings() -> Settings:
    """The settings of this process. Ends the command with a message for each wrong setting."""
    try:
        _check_config_file(os.environ.get("PHOENIX_CONFIG"))
        return load_settings()
    except ValidationError as error:
        for fault in error.errors():
            reason = "there is no such setting" if fault["type"] == "extra_forbidden" else fault["msg"]
            err.print(f"{_variable(fault['loc'])}: {reason.removeprefix('Value error, ')}", style="red")
        raise typer.Exit(USAGE) from error


def _variable(path: tuple[str | int, ...]) -> str:
    """The environment variable that the setting was read from or can be read from."""
    plain = [name for name, setting in UNPREFIXED_NAMES.items() if setting == path and os.environ.get(name)]
    full = "PHOENIX_" + "__".join(str(part) for part in path).upper()
    return plain[0] if plain and full not in os.environ else full


def _check_config_file(path: str | None) -> None:
    """Ends the command if the configured file is missing or not TOML. Otherwise the defaults would apply silently."""
    try:
        if path:
            tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        err.print(f"PHOENIX_CONFIG: {path}: {reason}", style="red")
        raise typer.Exit(USAGE) from error


@contextmanager
def exit_on_error() -> Generator[None]:
    """Turns the errors of Phoenix and its client into a message and status 1, and Ctrl-C into status 130."""
    try:
        yield
    except PhoenixProblem as problem:
        show_problem(problem)
        raise typer.Exit(FAILED) from problem
    except PhoenixUnreachable as error:
        err.print(printable(str(error)), style="red")
        err.print("Start a server with `phoenix up`, or name a server with --url or PHOENIX_URL.")
        raise typer.Exit(FAILED) from error
    except InvalidRequest as refusal:
        _show_refusal(refusal.code.value, refusal.detail, refusal.field_errors)
        raise typer.Exit(FAILED) from refusal
    except Unavailable as error:
        err.print(printable(error.detail), style="red")
        if not isinstance(error, SchemaOutdated):
            err.print("`phoenix doctor` says whether it answers.")
        raise typer.Exit(FAILED) from error
    except (PhoenixClientError, PhoenixError, OSError) as error:
        for line in str(error).splitlines():
            err.print(printable(line), style="red")
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(INTERRUPTED) from interrupt


def end_on_sigterm() -> None:
    """Makes SIGTERM run every `finally`, so that private servers end and temporary files are removed."""

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)


def show_problem(problem: PhoenixProblem) -> None:
    """Prints a refusal of the server."""
    _show_refusal(problem.code, problem.detail, problem.field_errors)
    if problem.code in (ProblemCode.UNAUTHENTICATED, ProblemCode.KEY_EXPIRED):
        err.print("  Give a key with --api-key or PHOENIX_API_KEY. `phoenix keys create` makes a key, on the server.")
    if problem.request_id:
        err.print(f"  request {printable(problem.request_id)}", style="dim")


def _show_refusal(code: str, detail: str, faults: Iterable[FieldError | ProblemFault]) -> None:
    """Prints a refusal in the same form, whether this process or a server refused the request."""
    shown = [f"{printable(fault.pointer)}: {printable(fault.detail)}" for fault in faults]
    # The detail of a refusal starts with its first fault, which would appear twice.
    is_repeated = bool(shown) and printable(detail).startswith(shown[0])
    summary = f"{code}: {shown.pop(0)}" if is_repeated else f"{code}: {printable(detail)}"
    err.print(summary, style="red")
    for line in shown:
        err.print(f"  {line}")


def warning_lines(job: Job) -> list[str]:
    """A line per warning about a clip of the job, and per failed check."""
    return [
        f"clip {clip_number(clip.index)}: {found.code}: {printable(found.message)}"
        for clip in job.clips
        for found in (*clip.warnings, *clip.checks)
    ]


def require_success(job: Job) -> None:
    """Ends the command with the reason and status 1 unless the job succeeded."""
    if job.state is JobState.SUCCEEDED:
        return
    err.print(f"{job.id} {job.state.value}.", style="red")
    if job.error:
        err.print(f"  {job.error.code.value} ({job.error.stage.value}): {printable(job.error.message)}")
    for clip in job.clips:
        if clip.error:
            err.print(f"  clip {clip_number(clip.index)}: {clip.error.code.value}: {printable(clip.error.message)}")
    if job.error and job.error.retriable:
        err.print(f"  `phoenix jobs retry {job.id}` renders what is missing.")
    raise typer.Exit(FAILED)
