"""Runs a private `phoenix up` for the duration of a command."""

import subprocess
import sys
import tempfile
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from phoenix.child_processes import tied
from phoenix.cli.embedded.listening import READY_LINE
from phoenix.errors import PhoenixError
from phoenix.settings import AuthMode, Settings
from phoenix.worker.child_process import child_environment

STOP_WITHIN_S = 30
SHARED_GROUPS = ("redis", "database", "storage")
LOG_TAIL_LINES = 15


class PrivateServerFailed(PhoenixError):
    """The private server did not start."""


@dataclass(frozen=True)
class OwnServer:
    """A `phoenix up` that this process started, ready at `url`."""

    url: str
    process: subprocess.Popen[str]

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def private_server(settings: Settings) -> Generator[str]:
    """The URL of a server for this command alone. Its files are deleted at the end unless PHOENIX_DATA_DIR is set.

    Raises `PrivateServerFailed` with the last log lines of the server. Call it from the main thread.
    """
    with ExitStack() as stack:
        if "data_dir" in settings.model_fields_set:
            folder = settings.data_dir.absolute()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="phoenix-")))
        log = stack.enter_context((folder / "generate.log").open("w+"))
        yield stack.enter_context(own_server(private_settings(settings, folder), log)).url


@contextmanager
def own_server(settings: Settings, log: TextIO | None = None) -> Generator[OwnServer]:
    """A `phoenix up` with these settings on a free port. It logs to `log`, or to stderr if that is None.

    Raises `PrivateServerFailed`. Call it from the main thread.
    """
    process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
        tied([sys.executable, "-m", "phoenix", "up", "--host", "127.0.0.1", "--port", "0"]),
        env=child_environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        # This command handles Ctrl-C itself, and then ends the server with SIGTERM.
        start_new_session=True,
    )
    try:
        yield OwnServer(_wait_until_ready(process, log), process)
    finally:
        _stop(process)


def private_settings(settings: Settings, folder: Path, groups: Collection[str] = SHARED_GROUPS) -> Settings:
    """The settings of a private server. `groups` get their defaults, so that it shares no jobs or files with others.

    It requires no keys and serves no pages, so no origin may read from it.
    """
    defaults = {name: type(getattr(settings, name))() for name in groups}
    api = settings.api.model_copy(update={"cors_origins": ()})
    return settings.model_copy(update={**defaults, "api": api, "data_dir": folder, "auth": AuthMode.OFF})


def _wait_until_ready(process: subprocess.Popen[str], log: TextIO | None) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY_LINE):
            return line.removeprefix(READY_LINE).strip()
    if log is None:
        raise PrivateServerFailed("The server did not start. Its messages are above.")
    last_lines = "\n".join(Path(log.name).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise PrivateServerFailed(f"No server runs here, and a private server did not start:\n{last_lines}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        # Its children end with it.
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
