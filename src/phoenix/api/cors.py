"""CORS, whose refusals are problems like any other: Starlette's own are plain text."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phoenix.api.problems import explain, problem_response


class Cors(CORSMiddleware):
    """Origins on the list may read answers, with credentials; from others a browser keeps them back."""

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
    """Only ever raised here, so that no error of the application is taken for one."""
