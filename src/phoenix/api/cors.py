"""CORS with refusals as problem+json: Starlette's own are plain text."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phoenix.api.problems import explain, problem_response


class Cors(CORSMiddleware):
    """Lets pages of the listed origins read responses, with credentials."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except _PreflightRefused as refused:
            await problem_response(scope, explain(refused))(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:
            raise _PreflightRefused(400, f"{bytes(response.body).decode()}.", {"Vary": response.headers["Vary"]})
        return response


class _PreflightRefused(HTTPException):
    """A type of its own, so that no error of the application is mistaken for it."""
