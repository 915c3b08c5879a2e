"""One request with its response, and what is wrong with it. Pure: it looks at data only.

A response may repeat what its request said. Anything else in it has to belong to the caller.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from phoenix.contract import PROBLEM_MEDIA_TYPE

ID = re.compile(r"(?:job|art|whd|stb|video)_[0-9a-z]{26}")
CANARY = re.compile(r"canary[0-9a-f]{16}")
SIGNING_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{16,}")
DOCUMENTED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example in the OpenAPI documents, which is nobody's."""
API_KEY = re.compile(r"phx_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
SECRET_ROUTES = ("/v1/webhooks/secret", "/v1/webhooks/secret/rotate")
INTERNALS = re.compile(
    r"Traceback|\w\.py\b|\bline \d+, in |\bself\.|\bNone\b|<class |\b[A-Z]\w*(?:Error|Exception)\b"
    r"|\b(?:sqlalchemy|asyncpg|pydantic|starlette|uvicorn|psycopg|aiosqlite)\b"
    r"|\bSELECT .* FROM\b|\bINSERT INTO\b|\bUPDATE \w+ SET\b"
    r"|(?<![\w.:/])/(?:tmp|home|root|usr|var|etc)/\w",
    re.DOTALL,
)
"""What a client may not see of how the server is made: places in the code, classes, SQL, paths."""
REFUSALS_OF_STRANGERS = frozenset({400, 401, 403, 404, 405, 406, 413, 414, 415, 422, 431})
"""Any other status of a stranger's object would tell that it exists."""

FLEET = "/v1/workers"
"""The one route that shows an operator the jobs of all callers, by its description."""

OwnerOf = Callable[[str], str | None]
"""The owner of an id or of a canary, by name; None if nobody has it."""


@dataclass(frozen=True)
class Exchange:
    caller: str
    """The holder of the key, or of the token that the request carried instead."""
    method: str
    path: str
    """As sent, without the query."""
    sent: str
    """All of the request but its key: the target, the headers and the body."""
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_key_revoked: bool = False
    is_admin: bool = False
    steps: str = ""
    """Where in the run this was, so that it can be found again."""

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def said(self) -> str:
        """What the request named. The same id names a job and, to some routes, its video."""
        return "\n".join([self.sent, self.sent.replace("video_", "job_"), self.sent.replace("job_", "video_")])

    @property
    def received(self) -> str:
        return "\n".join([*(f"{name}: {value}" for name, value in self.headers.items()), self.text])


@dataclass(frozen=True)
class Fault:
    rule: str
    subject: str
    detail: str = field(default="")

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


def find_faults(exchange: Exchange, owner_of: OwnerOf) -> Iterator[Fault]:
    subject = f"{exchange.steps} {exchange.caller} {exchange.method} {exchange.path[:300]} -> {exchange.status}"
    for rule, check in CHECKS.items():
        yield from (Fault(rule, subject, detail) for detail in check(exchange, owner_of))


def _never_a_server_error(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    if exchange.status >= 500:
        yield exchange.text[:500]


def _every_error_is_a_problem(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    if exchange.status < 400 or exchange.method == "HEAD":
        return
    parsed = parse_json(exchange.body)
    # A method or a path that no route takes is refused before the route is known.
    is_of_route = exchange.status not in (404, 405) or "error" in parsed
    if is_of_openai(exchange.path) and is_of_route:
        error = parsed.get("error")
        if not isinstance(error, dict) or not error.get("message") or "code" not in error:
            yield f"no error of OpenAI's API: {exchange.text[:300]}"
        return
    if exchange.headers.get("content-type") != PROBLEM_MEDIA_TYPE:
        yield f"its type is {exchange.headers.get('content-type')}"
    elif parsed.get("status") != exchange.status or not parsed.get("detail") or not parsed.get("code"):
        yield f"not a whole problem: {exchange.text[:300]}"
    elif parsed.get("request_id") != exchange.headers.get("x-request-id"):
        yield f"its request id is {parsed.get('request_id')}, the header has {exchange.headers.get('x-request-id')}"


def _errors_hide_how_the_server_is_made(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    if exchange.status < 400:
        return
    # The path of the request is repeated on purpose.
    problem = {name: value for name, value in parse_json(exchange.body).items() if name != "instance"}
    for match in INTERNALS.finditer(json.dumps(problem, ensure_ascii=False)):
        if match[0] not in exchange.sent:
            yield f"it says {match[0]!r}: {exchange.text[:300]}"


def _nothing_of_another_caller(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    shows_all_jobs = exchange.is_admin and exchange.path == FLEET
    for pattern in (CANARY,) if shows_all_jobs else (ID, CANARY):
        for token in set(pattern.findall(exchange.received)):
            owner = owner_of(token)
            if owner not in (None, exchange.caller) and token not in exchange.said:
                yield f"it shows {token} of {owner}"


def _no_secret_where_it_is_not_made(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    if API_KEY.search(exchange.received):
        yield "it shows an API key"
    for secret in set(SIGNING_SECRET.findall(exchange.received)) - {DOCUMENTED_SECRET}:
        if not (exchange.path in SECRET_ROUTES and owner_of(secret) in (None, exchange.caller)):
            yield f"it shows the signing secret of {owner_of(secret)}"


def _a_stranger_cannot_tell_that_it_exists(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    for token in ID.findall(exchange.path):
        owner = owner_of(token)
        if owner not in (None, exchange.caller) and exchange.status not in REFUSALS_OF_STRANGERS:
            yield f"{token} is of {owner}"


def _a_revoked_key_opens_nothing(exchange: Exchange, owner_of: OwnerOf) -> Iterator[str]:
    if exchange.is_key_revoked and exchange.path.startswith("/v1/") and exchange.status < 400:
        yield exchange.text[:200]


Check = Callable[[Exchange, OwnerOf], Iterator[str]]
CHECKS: Mapping[str, Check] = {
    "never a server error": _never_a_server_error,
    "every error is a problem": _every_error_is_a_problem,
    "errors hide how the server is made": _errors_hide_how_the_server_is_made,
    "nothing of another caller": _nothing_of_another_caller,
    "no secret where it is not made": _no_secret_where_it_is_not_made,
    "a stranger cannot tell that it exists": _a_stranger_cannot_tell_that_it_exists,
    "a revoked key opens nothing": _a_revoked_key_opens_nothing,
}


def is_of_openai(path: str) -> bool:
    return path == "/v1/videos" or path.startswith("/v1/videos/")


def parse_json(body: bytes) -> dict[str, Any]:
    """The object in a body; empty if there is none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
