"""Routes that ask whose request it is before they read its body. FastAPI on its own does it the other way round."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from phoenix.api.dependencies import get_caller


class KeyedRoute(APIRoute):
    """For routes with a body: strangers learn nothing about theirs, and have none of it read or parsed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def identify_first(request: Request) -> Response:
            await get_caller(request)
            return await answer(request)

        return identify_first
