"""The stateful fuzz: callers that make, read and change things in any order, and look into what others have made.

One seed draws everything, and each response is checked when it comes. A run of the same seed draws the same requests.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx

from fuzz.callers import Caller, Callers, new_canary
from fuzz.exchanges import ID, SIGNING_SECRET, Exchange, Fault, find_faults, parse_json
from fuzz.hand_worker import HandWorker
from fuzz.ownership import Ownership
from fuzz.rules import draw_request
from fuzz.scene import Request, Scene
from phoenix.access.keys import Scope, create_key, ids_of, revoke_key, rotate_key
from phoenix.services import Services

TIMEOUT_S = 60
PROGRESS_EVERY = 500
MAX_FAULTS = 20
"""A server that is this broken needs no further request."""


@dataclass
class StatefulRun:
    """What came of it."""

    callers: Callers
    ownership: Ownership
    cases: int = 0
    exchanges: dict[str, Exchange] = field(default_factory=dict[str, Exchange])
    """By the request id of the response, for the check of the log."""
    faults: list[Fault] = field(default_factory=list[Fault])
    accepted: set[str] = field(default_factory=set[str])
    """Ids of the jobs that were answered with 2xx and not deleted since."""
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    """Every key, token and signing secret, with what it is."""


class StatefulFuzz:
    def __init__(
        self, services: Services, http: httpx.AsyncClient, folder: Path, run: StatefulRun, draw: Random
    ) -> None:
        self._services = services
        self._http = http
        self._worker = HandWorker(services, folder)
        self._run = run
        self._draw = draw

    async def step(self, number: int) -> None:
        """One request; before some of them the worker acts or a key changes."""
        roll = self._draw.random()
        if roll < 0.5:
            await self._worker.act(self._draw)
        elif roll < 0.51:
            await self._change_key(self._draw.choice(self._run.callers.active))
        callers = self._run.callers
        caller = self._draw.choice(callers.active)
        if callers.revoked and self._draw.random() < 0.02:
            caller = self._draw.choice(callers.revoked)
        await self._exchange(caller, draw_request(Scene(self._draw, caller, callers)), number)

    async def _exchange(self, caller: Caller, request: Request, number: int) -> None:
        headers = {"Authorization": f"Bearer {caller.key}".encode()} if request.with_key else {}
        sent = self._http.build_request(
            request.method, httpx.URL(self._http.base_url, raw_path=request.target.encode("ascii", "replace")),
            headers={**headers, **request.headers}, content=request.body,
        )  # fmt: skip
        response = await self._http.send(sent)
        exchange = Exchange(
            caller=(request.token_of or caller).name,
            method=request.method,
            path=request.path,
            sent=request.sent,
            status=response.status_code,
            headers=dict(response.headers),
            body=response.content,
            is_key_revoked=caller.is_revoked and request.with_key and "Authorization" not in request.headers,
            is_admin=caller.is_admin,
            steps=f"step {number}",
        )
        await self._run.ownership.look_up(exchange.sent + exchange.received)
        self._run.faults += find_faults(exchange, self._run.ownership.owner_of)
        # An id that a client chose may be that of many requests.
        if (request_id := response.headers.get("x-request-id", "")).startswith("req_"):
            self._run.exchanges[request_id] = exchange
        if exchange.status < 300 and request.token_of is None:
            self._learn(caller, request, exchange)

    def _learn(self, caller: Caller, request: Request, exchange: Exchange) -> None:
        """Keeps what later requests can name."""
        self._learn_ids(caller, exchange.received)
        body = parse_json(exchange.body)
        job_id = str(body.get("id", "")).replace("video_", "job_")
        if request.method == "POST" and job_id.startswith("job_"):
            self._run.accepted.add(job_id)
        if request.method == "DELETE":
            for token in ID.findall(request.path):
                self._run.accepted.discard(token.replace("video_", "job_"))
                caller.forget(token.replace("video_", "job_"))
        if job_id and "etag" in exchange.headers:
            caller.etags[job_id] = exchange.headers["etag"]
        if "token" in body and "/jobs/" in request.path:
            caller.tokens.append((request.path.split("/")[3], body["token"]))
            self._run.secrets[body["token"]] = "a stream token"
        if cursor := body.get("next_cursor") or body.get("last_id"):
            caller.cursors.append(str(cursor))
        for secret in SIGNING_SECRET.findall(exchange.text):
            self._run.ownership.add(secret, caller.name)
            self._run.secrets[secret] = "a signing secret"

    def _learn_ids(self, caller: Caller, received: str) -> None:
        """A video is known as its job."""
        kinds = {"job": caller.jobs, "art": caller.artifacts, "whd": caller.deliveries, "stb": caller.storyboards}
        for token in ID.findall(received.replace("video_", "job_")):
            owned = kinds[token[:3]]
            if self._run.ownership.owner_of(token) == caller.name and token not in owned:
                owned.append(token)

    async def _change_key(self, caller: Caller) -> None:
        """Rotates the key, or revokes it and lets a new one take its place, as `phoenix keys` does."""
        if self._draw.random() < 0.6:
            async with self._services.database.write() as uow:
                kept = timedelta(hours=self._draw.choice([0, 1]))
                caller.key = await rotate_key(uow, ids_of(caller.key)[0], keep_old_for=kept)
            self._run.secrets[caller.key] = "an API key"
        elif len(self._run.callers.revoked) < 5:
            async with self._services.database.write() as uow:
                await revoke_key(uow, ids_of(caller.key)[0])
            name = f"{caller.name.split('-')[0]}-{len(self._run.callers.revoked) + 2}"
            successor = await make_caller(self._services, name, is_admin=caller.is_admin)
            self._run.callers.replace(caller, successor)
            self._run.secrets[successor.key] = "an API key"


async def make_caller(services: Services, name: str, *, is_admin: bool = False) -> Caller:
    scopes = set(Scope) if is_admin else {Scope.READ, Scope.WRITE}
    async with services.database.write() as uow:
        key = await create_key(uow, name, scopes)
    return Caller(name, key, new_canary(), is_admin=is_admin)


async def run_stateful(
    services: Services,
    url: str,
    folder: Path,
    *,
    seed: int,
    cases: int,
    end_s: float = math.inf,
    on_progress: Callable[[StatefulRun], None] | None = None,
) -> StatefulRun:
    """Two owners and an operator, until there were enough cases, too many faults, or the clock says `end_s`."""
    made = [await make_caller(services, name, is_admin=name == "operator") for name in ("one", "other", "operator")]
    callers = Callers(made)
    run = StatefulRun(callers, Ownership(services.database, callers))
    run.secrets |= dict.fromkeys((caller.key for caller in made), "an API key")
    draw = Random(seed)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as http:
        fuzz = StatefulFuzz(services, http, folder, run, draw)
        for number in range(cases):
            await fuzz.step(number)
            run.cases += 1
            if on_progress and run.cases % PROGRESS_EVERY == 0:
                on_progress(run)
            if len(run.faults) >= MAX_FAULTS or time.monotonic() > end_s:
                break
    return run
