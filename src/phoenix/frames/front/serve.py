"""Runs the servers of `phoenix frames` on one event loop, and ends them without a lost frame."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from phoenix.child_processes import follow_lifeline
from phoenix.frames.front.grpc_server import grpc_server
from phoenix.frames.front.open_sessions import FINISH_S
from phoenix.frames.front.state import FrontState, open_front
from phoenix.frames.front.web import create_front_app
from phoenix.frames.service import FrameService
from phoenix.services import open_services
from phoenix.settings import Settings
from phoenix.telemetry.error_reports import report_errors
from phoenix.telemetry.logs import configure_logs, get_logger
from phoenix.telemetry.spans import tracing

_logger = get_logger(__name__)

SEND_BUFFER_BYTES = 524_288
"""What the kernel takes for a client that does not read: less than a second of usual frames, and not megabytes."""
_SERVICE_DRAIN_S = 10.0
_PING_INTERVAL_S = 20.0


@dataclass(frozen=True)
class FrontAddress:
    """Where a process answers."""

    host: str
    port: int
    grpc_port: int


class FrontServer(uvicorn.Server):
    """Ends the sessions before its connections: uvicorn closes each WebSocket as soon as it shuts down."""

    def __init__(
        self, config: uvicorn.Config, *, on_started: Callable[[], None], drain: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._drain = drain

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        # `serve` handles them, because gRPC has to end too.
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._drain()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises `OSError` if an address is taken, and what `FrameService` raises."""
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    # For systems whose kernel does not end a child with its parent.
    follow_lifeline(lambda: os._exit(1))
    report_errors("phoenix-frames")
    config = uvicorn.Config("phoenix", loop="auto")
    with tracing("phoenix-frames"), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(with_front_host(settings)))


def with_front_host(settings: Settings) -> Settings:
    """The settings with the address of the front as the one of the server, which decides whether keys are needed."""
    if settings.frames.host is None:
        return settings
    return settings.model_copy(update={"api": settings.api.model_copy(update={"host": settings.frames.host})})


async def _serve(settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with (
        open_services(settings) as services,
        FrameService(settings) as service,
        open_front(services, service) as state,
    ):
        await serve_front(state, stopping, on_ready=_log_ready)


def _log_ready(address: FrontAddress) -> None:
    _logger.info("frames are served", host=address.host, port=address.port, grpc_port=address.grpc_port)


async def serve_front(state: FrontState, stopping: asyncio.Event, *, on_ready: Callable[[FrontAddress], None]) -> None:
    """Serves until `stopping` is set, and returns when every session has ended."""
    settings, host = state.settings, state.settings.api.host
    async with AsyncExitStack() as stack:
        listening = listen(host, settings.frames.port)
        stack.callback(listening.close)
        grpc_address = f"{f'[{host}]' if ':' in host else host}:{settings.frames.grpc_port}"
        grpc, grpc_port = await stack.enter_async_context(grpc_server(state, grpc_address))

        async def drain() -> None:
            # gRPC refuses new calls at once. The sessions that run are ended one by one.
            longest_s = settings.frames.drain_grace_s + FINISH_S + _SERVICE_DRAIN_S
            refusing = asyncio.create_task(grpc.stop(longest_s))
            await state.sessions.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(_SERVICE_DRAIN_S):
                    await state.service.drain()
            # What is left are watchers of the health, who never leave.
            await grpc.stop(1)
            await refusing

        address = FrontAddress(host, listening.getsockname()[1], grpc_port)
        config = front_config(create_front_app(state), settings)
        server = FrontServer(config, on_started=lambda: on_ready(address), drain=drain)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        asked = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        server.should_exit = True
        await serving


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Its connections inherit the size of its buffer. Raises `OSError`."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"WebSocket and HTTP cannot listen at {host}:{port}: {error.strerror}") from error
    return listening


def front_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application."""
    frames = settings.frames
    return uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=frames.max_message_bytes,
        # JPEG does not become smaller, and deflating would take more time than all the rest.
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_INTERVAL_S,
        # While a client is not read, because its sound waits, its pongs are not read either.
        ws_ping_timeout=None,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="off",
        proxy_headers=bool(settings.api.trusted_proxies),
        forwarded_allow_ips=list(settings.api.trusted_proxies),
        timeout_graceful_shutdown=5,
    )
