"""Routes that authenticate a request before they read its body. FastAPI by itself does it the other way round."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from phoenix.api.dependencies import get_caller


class AuthFirstRoute(APIRoute):
    """For routes with a body: a stranger's body is neither read nor parsed, and its faults are not reported."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def identify_first(request: Request) -> Response:
            await get_caller(request)
            return await answer(request)

        return identify_first
