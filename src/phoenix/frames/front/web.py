"""The HTTP next to the sessions: videos, tokens for pages, health and metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from phoenix import __version__
from phoenix.access import keys
from phoenix.contract import PROBLEM_MEDIA_TYPE, requests
from phoenix.errors import FieldError, InvalidRequest, UnsupportedMedia
from phoenix.frames.front.callers import Presented, address_of
from phoenix.frames.front.client_messages import SessionVideo
from phoenix.frames.front.faults import Fault, FrameError, explain
from phoenix.frames.front.meters import FrameTransport
from phoenix.frames.front.owned_videos import VideoOptions
from phoenix.frames.front.state import FrontState
from phoenix.frames.front.websocket import SESSION_PATH, SessionEndpoint
from phoenix.lipsync.faces import FaceBox
from phoenix.telemetry import meters

VIDEOS_PATH = "/v1/frames/videos"
_VIDEO_PATH = f"{VIDEOS_PATH}/{{video_id}}"
_TOKEN_PATH = f"{_VIDEO_PATH}/token"
FRONT_PATHS = (SESSION_PATH, VIDEOS_PATH, _VIDEO_PATH, _TOKEN_PATH)
"""What the documentation may name."""
_MAX_JSON_BYTES = 65_536
_TYPE_BASE = "https://phoenix.invalid/problems/"


class ArtifactVideo(BaseModel):
    """The JSON of `POST /v1/frames/videos`: a file that the API has stored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact_id: Annotated[str, Field(max_length=100)]
    model: str | None = None
    box: requests.FaceRegion | None = None


def create_front_app(state: FrontState) -> ASGIApp:
    """The application of the port of WebSocket and HTTP."""
    routes = _FrontRoutes(state)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=state.settings.api.cors_origins,
        allow_credentials=state.settings.api.cors_credentials,
        allow_methods=["*"],
        allow_headers=["*"],
    )
    application = Starlette(
        routes=[
            Route(VIDEOS_PATH, routes.guard(routes.register_video), methods=["POST"]),
            Route(_VIDEO_PATH, routes.guard(routes.show_video), methods=["GET"]),
            Route(_VIDEO_PATH, routes.guard(routes.remove_video), methods=["DELETE"]),
            Route(_TOKEN_PATH, routes.guard(routes.make_token), methods=["POST"]),
            Route("/health/live", routes.show_liveness, methods=["GET"]),
            Route("/health/ready", routes.show_readiness, methods=["GET"]),
            Route("/metrics", routes.guard(routes.show_metrics), methods=["GET"]),
        ],
        middleware=[cors] if state.settings.api.cors_origins else [],
        exception_handlers={HTTPException: _show_http_error},
    )
    sessions = SessionEndpoint(state)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await (sessions if scope["type"] == "websocket" else application)(scope, receive, send)

    return serve


Endpoint = Callable[[Request], Awaitable[Response]]


class _FrontRoutes:
    def __init__(self, state: FrontState) -> None:
        self._state = state

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """Refuses what the host policy forbids, and answers errors with problem+json."""

        @wraps(endpoint)
        async def answer(request: Request) -> Response:
            try:
                self._state.hosts.check(request.method, request.scope["http_version"], request.headers)
                return await endpoint(request)
            except ClientDisconnect:
                return Response(status_code=499)
            except Exception as error:  # noqa: BLE001 - an unexpected one is logged and hidden
                explained = explain(error)
                self._state.meters.count_fault(FrameTransport.HTTP, explained.fault)
                return _problem(request, explained)

        return answer

    async def register_video(self, request: Request) -> Response:
        caller = await self._authenticate(request, keys.Scope.WRITE)
        limit_s = self._state.settings.limits.upload_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                video = await self._register(request, caller)
        except TimeoutError:
            raise FrameError(Fault.IDLE, f"The file did not arrive within {limit_s} seconds.") from None
        location = f"{VIDEOS_PATH}/{video.video_id}"
        return JSONResponse(video.model_dump(), HTTPStatus.CREATED, headers={"Location": location})

    async def _register(self, request: Request, caller: keys.Caller) -> SessionVideo:
        videos = self._state.videos
        if _media_type(request) != "application/json":
            options = VideoOptions(request.query_params.get("model"), _read_box(request.query_params.get("box")))
            return SessionVideo.of(await videos.add_upload(request.stream(), options, caller))
        named = _read_named(await _read_json(request))
        options = VideoOptions(named.model, box_of(named.box))
        return SessionVideo.of(await videos.add_artifact(named.artifact_id, options, caller))

    async def show_video(self, request: Request) -> Response:
        caller = await self._authenticate(request, keys.Scope.READ)
        video = self._state.videos.get(request.path_params["video_id"], caller)
        return JSONResponse(SessionVideo.of(video).model_dump())

    async def remove_video(self, request: Request) -> Response:
        caller = await self._authenticate(request, keys.Scope.WRITE)
        await self._state.videos.remove(request.path_params["video_id"], caller)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def make_token(self, request: Request) -> Response:
        caller = await self._authenticate(request, keys.Scope.WRITE)
        video = self._state.videos.get(request.path_params["video_id"], caller)
        token, expires_at = await self._state.callers.make_token(video.video_id, caller)
        body = {"token": token, "expires_at": expires_at.isoformat(), "video_id": video.video_id}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def show_liveness(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"status": "ok", "version": __version__, "checks": {}})

    async def show_readiness(self, request: Request) -> Response:
        health = self._state.service.health()
        if not self._state.is_serving:
            why = "stops" if self._state.sessions.is_draining or health.is_draining else "has no engine that is alive"
            return _problem(request, FrameError(Fault.UNAVAILABLE, f"This server {why}.", retry_after_s=5))
        engines = {each.device: "ok" if each.is_alive else "starting" for each in health.engines}
        return JSONResponse({"status": "ok", "version": __version__, "checks": engines})

    async def show_metrics(self, request: Request) -> Response:
        await self._authenticate(request, keys.Scope.METRICS)
        body = self._state.meters.write(*_gauges(self._state))
        return Response(body, headers={"Content-Type": meters.CONTENT_TYPE, "Cache-Control": "no-store"})

    async def _authenticate(self, request: Request, scope: keys.Scope) -> keys.Caller:
        presented = Presented(request.headers, address_of(request.scope))
        return await self._state.callers.authenticate(presented, scope)


def box_of(region: requests.FaceRegion | None) -> FaceBox | None:
    return region and FaceBox(region.x, region.y, region.width, region.height)


def _gauges(state: FrontState) -> list[meters.Metric]:
    health = state.service.health()
    alive = [((engine.device, str(number)), float(engine.is_alive)) for number, engine in enumerate(health.engines)]
    restarts = [((engine.device, str(number)), float(engine.restarts)) for number, engine in enumerate(health.engines)]
    return [
        meters.gauge("phoenix_frames_engine_up", "Whether an engine is alive.", "device", "number", values=alive),
        meters.counter(
            "phoenix_frames_engine_restarts_total",
            "Processes of an engine that were replaced.",
            "device",
            "number",
            values=restarts,
        ),
        meters.gauge("phoenix_frames_waiting", "Frames that no engine has begun.", values=[((), health.waiting)]),
        meters.gauge("phoenix_frames_rendering", "Frames that engines render now.", values=[((), health.rendering)]),
        meters.gauge("phoenix_frames_videos", "Registered videos.", values=[((), health.videos)]),
    ]


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _read_box(text: str | None) -> FaceBox | None:
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
        return box_of(requests.FaceRegion(x=x, y=y, width=width, height=height))
    except ValueError as error:
        detail = "Give four whole numbers of pixels: box=X,Y,WIDTH,HEIGHT, with sides of at least 16."
        raise InvalidRequest(detail, field_errors=[FieldError("/box", detail)]) from error


async def _read_json(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise UnsupportedMedia("JSON is for the id of an artifact. Send a file with its own Content-Type.")
    return bytes(body)


def _read_named(body: bytes) -> ArtifactVideo:
    try:
        return ArtifactVideo.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        field_errors = [FieldError("/" + "/".join(map(str, each["loc"])), each["msg"]) for each in found]
        raise InvalidRequest.from_field_errors(field_errors) from error


def _problem(request: Request, error: FrameError) -> Response:
    status = error.kind.http_status
    problem = {
        "type": _TYPE_BASE + error.fault.lower().replace("_", "-"),
        "title": error.fault.replace("_", " ").capitalize(),
        "status": status,
        "detail": error.detail,
        "instance": request.url.path,
        "code": error.fault,
        "errors": [{"pointer": each.pointer, "detail": each.detail} for each in error.field_errors],
    }
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem, status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


async def _show_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    fault = Fault.NOT_FOUND if error.status_code == HTTPStatus.NOT_FOUND else Fault.INVALID_REQUEST
    response = _problem(request, FrameError(fault, f"{error.detail}. docs/frames-protocol.md lists the routes."))
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response
