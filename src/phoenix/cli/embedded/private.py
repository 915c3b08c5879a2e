"""Runs a private `phoenix up` for the duration of a command, if no server is running."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from phoenix.cli.embedded.listening import READY_LINE
from phoenix.errors import PhoenixError
from phoenix.processes import die_with_parent
from phoenix.settings import PLAIN_NAMES, Settings

STOP_WITHIN_S = 30
SHARED_GROUPS = ("redis", "database", "storage")
LOG_TAIL_LINES = 15


class PrivateServerFailed(PhoenixError):
    """The private server did not start."""


@contextmanager
def private_server(settings: Settings) -> Generator[str]:
    """The URL of a server that nobody else uses. Its files go with it, unless PHOENIX_DATA_DIR says where to keep them.

    Raises `PrivateServerFailed` with the server's last words. Call it from the main thread.
    """
    with ExitStack() as stack:
        if "data_dir" in settings.model_fields_set:
            folder = settings.data_dir.absolute()
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="phoenix-")))
        log = stack.enter_context((folder / "generate.log").open("w+"))
        process = subprocess.Popen(
            [sys.executable, "-m", "phoenix", "up", "--host", "127.0.0.1", "--port", "0"],
            env=private_environment(folder, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C is for this command to handle; the server ends when told to.
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - the child only calls prctl
        )
        try:
            yield _wait_until_ready(process, Path(log.name))
        finally:
            _stop(process)


def private_environment(folder: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings that would make it use another server's jobs and files."""
    shared = {name for name, (group, _) in PLAIN_NAMES.items() if group in SHARED_GROUPS}
    prefixes = tuple(f"PHOENIX_{group.upper()}" for group in SHARED_GROUPS)
    kept = {k: v for k, v in inherited.items() if k.upper() not in shared and not k.upper().startswith(prefixes)}
    return {**kept, "PHOENIX_DATA_DIR": str(folder), "PHOENIX_AUTH": "off"}


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(READY_LINE):
            return line.removeprefix(READY_LINE).strip()
    last_words = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    raise PrivateServerFailed(f"No server runs here, and a private one did not start:\n{last_words}")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        # This also ends its children.
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
