"""Runs the HTTP application under uvicorn, and ends it so that no stream is cut and no request lost."""

import math
import os
import socket

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from phoenix.api.app import create_app
from phoenix.api.event_stream import ABORT_EXTENSION
from phoenix.processes import follow_lifeline
from phoenix.settings import Settings
from phoenix.telemetry.logs import configure_logs

STARTUP_FAILED = 3


class DrainingServer(uvicorn.Server):
    """uvicorn, which ends the application only after its connections: streams have to be told to end first."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.running.draining.set()
        await super().shutdown(sockets)


def serve(settings: Settings, socket_fd: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, on `socket_fd` if the parent process has opened the socket already."""
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    # Where the kernel does not tie a child to its parent, this does.
    follow_lifeline(lambda: os._exit(1))
    app = create_app(settings)
    server = DrainingServer(server_config(app, settings), app)
    server.run(sockets=None if socket_fd is None else [socket.socket(fileno=socket_fd)])
    if not server.started:
        # uvicorn has logged why the application did not start, and returns as if all were well.
        raise SystemExit(STARTUP_FAILED)


class Abortable:
    """Gives the application a way to drop a connection whose client does not read; ASGI has none.

    uvicorn's own `close` would first wait until the client has read what is buffered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # `send` is a method of uvicorn's object for this request.
        transport = getattr(getattr(send, "__self__", None), "transport", None)
        if scope["type"] == "http" and transport is not None:
            scope.setdefault("extensions", {})[ABORT_EXTENSION] = transport.abort
        await self._app(scope, receive, send)


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        Abortable(app),
        host=settings.api.host,
        port=settings.api.port,
        # The application logs each request itself, without the query string, which may hold a stream token.
        access_log=False,
        log_config=None,
        server_header=False,
        # Believed of anybody, X-Forwarded-For lets a client choose its own address.
        proxy_headers=bool(settings.api.trusted_proxies),
        forwarded_allow_ips=list(settings.api.trusted_proxies),
        timeout_graceful_shutdown=math.ceil(settings.api.shutdown_grace_s),
    )
