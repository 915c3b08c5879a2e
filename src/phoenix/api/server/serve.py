"""Runs the HTTP application under uvicorn, and shuts it down without cutting streams or losing requests."""

import asyncio
import math
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import ChangeReload

import phoenix
from phoenix.api.app import create_app
from phoenix.api.server.chunked_sink import BodyExtensions
from phoenix.api.server.connection import BoundedConnection, ConnectionLimits
from phoenix.api.server.connection_cap import ConnectionCap, fit_to_open_files
from phoenix.api.server.fair_starts import MAX_BEGINNING, FairStarts, StartQueue
from phoenix.child_processes import follow_lifeline
from phoenix.settings import Settings
from phoenix.telemetry.logs import configure_logs

STARTUP_FAILED = 3
ACCEPTED_AT_ONCE = 8
"""Connections that one turn of the event loop accepts. Each takes 0.2 ms, with its head."""


class DrainingServer(uvicorn.Server):
    """Ends the streams at a shutdown: uvicorn shuts the application down only after its connections have ended.

    It also accepts several connections in one turn of the event loop. uvloop accepts one for each listening socket, and
    a health check would wait until the requests of all connections before it have begun.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        listening = [each for server in self.servers for each in server.sockets]
        for each in listening:
            for _ in range(ACCEPTED_AT_ONCE - 1):
                copy = socket.socket(fileno=os.dup(each.fileno()))
                loop = asyncio.get_running_loop()
                self.servers.append(await loop.create_server(self._connect, sock=copy, backlog=self.config.backlog))

    def _connect(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.phoenix.draining.set()
        await super().shutdown(sockets)


def serve(settings: Settings, socket_fd: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, on `socket_fd` if the parent process has opened the socket already."""
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    # For systems whose kernel does not end a child with its parent.
    follow_lifeline(lambda: os._exit(1))
    app = create_app(settings)
    server = DrainingServer(server_config(app, settings), app)
    server.run(sockets=None if socket_fd is None else [socket.socket(fileno=socket_fd)])
    if not server.started:
        # uvicorn has logged why the application did not start, but returns as after a success.
        raise SystemExit(STARTUP_FAILED)


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        BodyExtensions(FairStarts(app, StartQueue(MAX_BEGINNING))),
        # `BoundedConnection` refuses upgrades to it, as problem+json.
        ws="none",
        http=cast("Any", partial(BoundedConnection, limits=_connection_limits(app, settings))),
        host=settings.api.host,
        port=settings.api.port,
        # The application logs each request itself, without the query string, which may hold a token.
        access_log=False,
        log_config=None,
        server_header=False,
        # uvicorn reads X-Forwarded-For from its end, up to the first address that is no trusted proxy.
        proxy_headers=bool(settings.api.trusted_proxies),
        forwarded_allow_ips=list(settings.api.trusted_proxies),
        timeout_graceful_shutdown=math.ceil(settings.api.shutdown_grace_s),
    )


def _connection_limits(app: FastAPI, settings: Settings) -> ConnectionLimits:
    limits, meters = settings.limits, app.state.meters
    cap = ConnectionCap(fit_to_open_files(limits.max_connections), meters)
    return ConnectionLimits(limits.head_timeout_s, limits.send_timeout_s, cap, meters)


PACKAGE = Path(phoenix.__file__).parent


def serve_reloading(settings: Settings, folders: Sequence[Path]) -> None:
    """Serves, and restarts when a Python file of Phoenix or in `folders` changes. Open streams end at once.

    uvicorn's own `--reload` would wait until the streams end with their jobs.
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
