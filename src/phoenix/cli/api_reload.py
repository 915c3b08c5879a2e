"""`phoenix api --reload`: restarts the replica whenever a source file changes, for developers of Phoenix."""

import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvicorn
from uvicorn.supervisors import ChangeReload

import phoenix
from phoenix.cli.api_server import serve
from phoenix.settings import Settings

PACKAGE = Path(phoenix.__file__).parent


def serve_reloading(settings: Settings, folders: Sequence[Path]) -> None:
    """Watches the Python files in `folders`, or those of Phoenix. Open streams end at once, and clients reconnect.

    uvicorn's own `--reload` would wait for streams to end, which they do when their jobs do.
    """
    watched = [str(folder) for folder in folders or [PACKAGE]]
    config = uvicorn.Config(
        "phoenix", host=settings.api.host, port=settings.api.port, reload=True, reload_dirs=watched, log_config=None
    )
    ChangeReload(config, target=partial(_serve, settings), sockets=[config.bind_socket()]).run()


def _serve(settings: Settings, sockets: list[socket.socket] | None) -> None:
    """Runs in a new process each time."""
    for listening in sockets or ():
        serve(settings, listening.detach())
