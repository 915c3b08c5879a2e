"""Assembles the HTTP application. `lifespan` opens the state that it needs at run time."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from phoenix import RELEASE
from phoenix.access.host_policy import HostPolicy
from phoenix.api.errors.problems import install_problem_handlers
from phoenix.api.estimates import estimate_routes
from phoenix.api.history import job_history, statistics_routes
from phoenix.api.http.body_limits import BodyLimit, BodyLimits
from phoenix.api.http.declarations import PROBLEM
from phoenix.api.http.request_ids import HEADER
from phoenix.api.lifespan import open_app_state
from phoenix.api.middleware import Cors, ErrorBoundary, HostCheck, RequestLog, RequestMetrics
from phoenix.api.openai import videos
from phoenix.api.openai.callbacks import choose_signer
from phoenix.api.openapi import pages
from phoenix.api.openapi.documents import DESCRIPTION, EXACT_PATH, PAGE_ASSETS, PAGE_PATH, TAGS, Documents
from phoenix.api.routes import (
    artifacts,
    content,
    create_jobs,
    edits,
    event_streams,
    fleet,
    health,
    jobs,
    keys,
    library,
    models,
    pauses,
    playlists,
    webhooks,
)
from phoenix.api.steering import audit_routes, bulk_routes, fleet_routes, queue_routes, share_routes
from phoenix.api.storyboards import storyboard_routes
from phoenix.settings import Settings
from phoenix.storage.store import find_link_origin
from phoenix.studio import mount
from phoenix.telemetry.meters import Meters

_ROUTES = (
    *(create_jobs, estimate_routes, storyboard_routes, edits, bulk_routes, jobs, job_history, library, event_streams),
    *(content, playlists, artifacts, keys, models, webhooks, fleet, statistics_routes, pauses, fleet_routes),
    *(queue_routes, share_routes, audit_routes, videos, health),
)
_EXPOSED_HEADERS = (
    HEADER,
    "Location",
    "Retry-After",
    "ETag",
    "Link",
    "Accept-Ranges",
    "Content-Range",
    "Idempotent-Replayed",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "traceparent",
)


class _ModuleRouter(APIRouter):
    """The routes of a module. One look shows that a path belongs to another module.

    FastAPI asks each route of each included router in turn, which takes seven times as long.
    """

    def __init__(self, router: APIRouter) -> None:
        super().__init__(routes=router.routes)
        patterns = (route.path_regex.pattern for route in router.routes if isinstance(route, APIRoute))
        # The names of parameters repeat in the routes, which one pattern may not.
        self._paths = re.compile("|".join(dict.fromkeys(_GROUP_NAME.sub("?:", each) for each in patterns)))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self._paths.match(scope["path"]) is None:
            return Match.NONE, {}
        return super().matches(scope)


_GROUP_NAME = re.compile(r"\?P<\w+>")


def create_app(settings: Settings) -> FastAPI:
    """The application. It opens nothing before its lifespan starts."""

    meters = Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_app_state(settings, meters, choose_signer(settings)) as app_state:
            app.state.phoenix = app_state
            yield

    # Brings the scripts of the page at /docs, as a GPU node may be offline. ReDoc would load a logo from its maker.
    app = FastAPIOffline(
        docs_url=None,
        redoc_url=None,
        static_url=PAGE_ASSETS,
        title="Phoenix",
        version=RELEASE,
        summary="A self-hosted video-generation backend.",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_url="/openapi.json",
        openapi_tags=TAGS,
        servers=[{"url": settings.api.public_url or "/"}],
        redirect_slashes=False,  # a redirect is neither the resource nor problem+json
        lifespan=lifespan,
        middleware=_middleware(settings, meters),
    )
    app.state.meters = meters
    install_problem_handlers(app)
    app.router.routes.extend(_included_routes(has_videos=settings.videos.enabled))
    documents = Documents(app)
    app.openapi = lambda: documents.plain
    app.add_route(PAGE_PATH, documents.show_page, include_in_schema=False)
    app.add_route(EXACT_PATH, documents.show_exact, include_in_schema=False)
    app.add_route(pages.INDEX_PATH, pages.show_index, include_in_schema=False)
    app.add_route(pages.PAGES_PATH, pages.show_page, include_in_schema=False)
    mount(app, media_origin=find_link_origin(settings.storage))
    return app


@cache
def _included_routes(*, has_videos: bool) -> Sequence[BaseRoute]:
    """The routes of the modules, shared by all applications of the process: FastAPI analyses them for 0.14 s."""
    router = APIRouter(responses=PROBLEM, generate_unique_id_function=_operation_id)
    for module in _ROUTES:
        if module is not videos or has_videos:
            router.include_router(_ModuleRouter(module.router))
    return router.routes


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function, which becomes the method's name in generated clients."""
    return route.name


def _middleware(settings: Settings, meters: Meters) -> list[Middleware]:
    """From the outermost to the innermost."""
    limits = settings.limits
    body = BodyLimit(limits.max_body_bytes, limits.body_timeout_s)
    upload_bytes = limits.max_upload_bytes + artifacts.FORM_OVERHEAD_BYTES
    upload = BodyLimit(upload_bytes, limits.upload_timeout_s, limits.receive_timeout_s)
    cors = Middleware(
        Cors,
        allow_origins=settings.api.cors_origins,
        allow_credentials=settings.api.cors_credentials,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )
    return [
        Middleware(RequestLog),
        Middleware(RequestMetrics, meters=meters),
        # Outside of all that may refuse a request: it closes the connection if a long body is left unread.
        Middleware(
            BodyLimits, default=body, by_path=dict.fromkeys([artifacts.UPLOADS_PATH, *videos.UPLOAD_PATHS], upload)
        ),
        Middleware(HostCheck, policy=HostPolicy.from_settings(settings)),
        *([cors] if settings.api.cors_origins else []),
        Middleware(ErrorBoundary),
    ]
