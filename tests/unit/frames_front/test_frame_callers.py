"""Where a call's key, token and address come from, and how often single frames count."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from phoenix.access.keys import Caller
from phoenix.access.keys import Scope as KeyScope
from phoenix.errors import Forbidden, Unauthenticated
from phoenix.frames.front.callers import Callers, Presented, choose_subprotocol, find_forwarded
from phoenix.settings import Settings

PROXIES = ("10.0.0.0/8", "::1")


def handshake(*subprotocols: str, **headers: str) -> dict[str, Any]:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "websocket", "subprotocols": list(subprotocols), "headers": raw, "client": ("203.0.113.9", 1)}


@pytest.mark.parametrize(
    ("connected", "forwarded", "client"),
    [
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("10.0.0.5", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.5", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.5", ["198.51.100.7", "10.0.0.6"], "198.51.100.7"),
        ("[::1]", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.5", [], "10.0.0.5"),
        ("unix", ["198.51.100.7"], "unix"),
    ],
)
def test_only_a_trusted_proxy_says_who_the_client_is(connected: str, forwarded: list[str], client: str) -> None:
    assert find_forwarded(connected, forwarded, PROXIES) == client


def test_a_key_in_a_subprotocol_counts_as_a_header() -> None:
    presented = Presented.from_handshake(handshake("phoenix.frames.v1", "bearer.phx_1"))

    assert presented.headers["authorization"] == "Bearer phx_1"


def test_a_key_in_a_header_comes_first() -> None:
    presented = Presented.from_handshake(handshake("bearer.phx_1", authorization="Bearer phx_2"))

    assert presented.headers["authorization"] == "Bearer phx_2"


def test_a_token_is_taken_from_a_subprotocol() -> None:
    assert Presented.from_handshake(handshake("token.abc.def")).token == "abc.def"


@pytest.mark.parametrize(("offered", "chosen"), [(("bearer.k", "phoenix.frames.v1"), "phoenix.frames.v1"), ((), None)])
def test_a_key_is_never_chosen_as_the_subprotocol(offered: tuple[str, ...], chosen: str | None) -> None:
    assert choose_subprotocol(handshake(*offered)) == chosen


class Counting:
    """Stands for the authenticator, the limits and the usage of a process."""

    def __init__(self, *scopes: KeyScope) -> None:
        self.caller = Caller("key", frozenset(scopes), "secret")
        self.calls = 0
        self.failures = 0

    async def authenticate(self, headers: Headers, count: object) -> Caller:
        self.calls += 1
        if headers.get("authorization") != "Bearer right":
            raise Unauthenticated
        return self.caller

    async def count(self, scope: object, caller: Caller) -> bytes | None:
        return None

    async def count_failed_auth(self, scope: object) -> None:
        self.failures += 1

    def record(self, caller: Caller) -> None:
        pass


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def callers_of(counting: Any, clock: Clock | None = None) -> Callers:
    return Callers(counting, counting, counting, counting, Settings(), clock_s=clock or Clock())


def presenting(key: str) -> Presented:
    return Presented(Headers({"authorization": f"Bearer {key}"}), "203.0.113.9")


async def test_frames_of_one_second_count_as_one_call() -> None:
    counting, clock = Counting(KeyScope.WRITE), Clock()
    callers = callers_of(counting, clock)
    for clock.now_s in (0.0, 0.5, 0.99, 1.5):
        await callers.authenticate_frame(presenting("right"))

    assert counting.calls == 2


async def test_a_wrong_key_is_counted_each_time() -> None:
    counting = Counting(KeyScope.WRITE)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await callers_of(counting).authenticate_frame(presenting("wrong"))

    assert counting.failures == 2


async def test_a_key_without_the_scope_is_refused() -> None:
    with pytest.raises(Forbidden):
        await callers_of(Counting(KeyScope.READ)).authenticate_frame(presenting("right"))
