"""The studio: one static page, which uses the public API like any other client. It has no endpoints of its own.

The page is served with headers that forbid foreign scripts and content.
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
ASSETS_PATH = "/studio"


def page_headers(*inline_scripts: str, media_origin: str | None = None) -> dict[str, str]:
    """The headers of a page of this server: no foreign scripts or content, no frame around it.

    Of scripts within the page, the browser runs only those that are given here, by their digest. Pictures and videos
    may also come from `media_origin`, such as `https://s3.example.com`.
    """
    media = f" {media_origin}" if media_origin else ""
    digests = "".join(f" 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in inline_scripts)
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'self'{digests}; style-src 'self'; connect-src 'self'; "
            f"img-src 'self' data: blob:{media}; media-src 'self' blob:{media}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        # The browser revalidates each time, usually with a 304, so that it shows a new version at once.
        "Cache-Control": "no-cache",
    }


class Assets(StaticFiles):
    """The files of the page."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(directory=FOLDER)
        self._headers = headers

    async def get_response(self, path: str, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        return response


def mount(app: Starlette, *, media_origin: str | None = None) -> None:
    """Adds the page at `/` and its files under `/studio`. `media_origin` is where downloads are redirected to.

    The page is not a mount at the root: such a mount would also respond to every path that the API does not have.
    """
    assets = Assets(page_headers(media_origin=media_origin))

    async def show_page(request: Request) -> Response:
        return await assets.get_response("index.html", request.scope)

    app.router.routes.append(Route("/", show_page, methods=["GET"]))
    app.router.routes.append(Mount(ASSETS_PATH, assets))
