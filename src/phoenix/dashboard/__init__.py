"""The dashboard: one static page, which uses the public API like any other client. It has no endpoints of its own.

The page is served with headers that forbid foreign scripts and content.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
ASSETS_PATH = "/dashboard"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # The browser revalidates each time, usually with a 304, so that it shows a new version at once.
    "Cache-Control": "no-cache",
}


class Assets(StaticFiles):
    """The files of the page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def mount(app: Starlette) -> None:
    """Adds the page at `/` and its files under `/dashboard`.

    The page is not a mount at the root: such a mount would also respond to every path that the API does not have.
    """
    assets = Assets(directory=FOLDER)

    async def show_page(request: Request) -> Response:
        return await assets.get_response("index.html", request.scope)

    app.router.routes.append(Route("/", show_page, methods=["GET"]))
    app.router.routes.append(Mount(ASSETS_PATH, assets))
