"""Refuses query parameters that a route does not have: a misspelt filter must not be ignored silently.

Bodies refuse unknown fields by themselves (`contract.wire_types.Request`).
"""

import functools
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

Fault = dict[str, Any]

ANY_KEY = ".KEY"
"""The end of the name of a parameter that stands for all parameters with other keys in this place."""

_unknown_parameters: ContextVar[tuple[Fault, ...]] = ContextVar("unknown_parameters", default=())


class StrictRoute(APIRoute):
    """A route that reports unknown query parameters together with all other errors of the request.

    Such a request passes the dependencies and the validation, so that a caller without a key gets 401, but never
    reaches the route's function.
    """

    def __init__(self, path: str, endpoint: Callable[..., Coroutine[Any, Any, Any]], **options: Any) -> None:
        super().__init__(path, _unless_parameters_are_unknown(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        known = frozenset(list_query_parameters(self.dependant))

        async def report_unknown(request: Request) -> Response:
            faults = _find_faults(request, known)
            if not faults:
                return await handle(request)
            reset = _unknown_parameters.set(faults)
            try:
                return await handle(request)
            except RequestValidationError as error:
                others = [each for each in error.errors() if each not in faults]
                raise RequestValidationError([*others, *faults], body=error.body) from None
            finally:
                _unknown_parameters.reset(reset)

        return report_unknown


def list_query_parameters(dependant: Dependant) -> Iterator[str]:
    """The names of the query parameters that a route and its dependencies declare."""
    yield from (field.alias for field in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from list_query_parameters(dependency)


def _find_faults(request: Request, known: frozenset[str]) -> tuple[Fault, ...]:
    """In the form of pydantic's errors."""
    if not request.scope["query_string"]:
        return ()
    names = f"known are {', '.join(sorted(known))}" if known else "this route has none"
    message = f"There is no such query parameter; {names}."
    unknown = [name for name in dict.fromkeys(request.query_params) if not _is_known(name, known)]
    return tuple({"type": "unknown_parameter", "loc": ("query", name), "msg": message} for name in unknown)


def _is_known(name: str, known: Collection[str]) -> bool:
    start, dot, _ = name.partition(".")
    return name in known or (dot != "" and start + ANY_KEY in known)


def _unless_parameters_are_unknown(
    endpoint: Callable[..., Coroutine[Any, Any, Any]],
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(endpoint)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if faults := _unknown_parameters.get():
            raise RequestValidationError(faults)
        return await endpoint(*args, **kwargs)

    return guarded
