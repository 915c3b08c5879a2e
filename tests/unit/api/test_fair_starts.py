"""Which requests begin, and when: few at a time, the clients in turn, and none that waits for something else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from phoenix.api.server.fair_starts import CROWD, CROWD_SLOTS, MAX_BEGINNING, FairStarts, StartQueue

LONG_S = 1000
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PART: Message = {"type": "http.response.body", "body": b"part", "more_body": True}
END: Message = {"type": "http.response.body", "body": b""}
BODY: Message = {"type": "http.request", "body": b"{}", "more_body": False}


async def settle() -> None:
    """Lets everything run that does not wait for a signal."""
    for _ in range(20):
        await asyncio.sleep(0)


class Clients:
    """Clients of a queue. Notes the order in which their requests begin.

    The name of a request is the name of its client and a number.
    """

    def __init__(self, slots: int) -> None:
        self.queue = StartQueue(slots)
        self.begun: list[str] = []

    async def join(self, *names: str) -> list["asyncio.Task[None]"]:
        tasks = [asyncio.create_task(self._enter(name)) for name in names]
        await settle()
        return tasks

    async def leave(self, *clients: str) -> None:
        for client in clients:
            self.queue.leave(client)
            await settle()

    async def _enter(self, name: str) -> None:
        await self.queue.enter(name.rstrip("0123456789"))
        self.begun.append(name)


@pytest.fixture
async def clients() -> Clients:
    """One slot, which is taken."""
    made = Clients(1)
    await made.queue.enter("first")
    return made


async def test_waiting_clients_are_served_in_turn(clients: Clients) -> None:
    await clients.join("one1", "one2", "one3", "other")
    await clients.leave("first", "one", "other", "one")

    assert clients.begun == ["one1", "other", "one2", "one3"]


async def test_a_request_that_is_canceled_while_it_waits_takes_no_slot(clients: Clients) -> None:
    waiting, _ = await clients.join("left", "other")
    waiting.cancel()
    await settle()
    await clients.leave("first")

    assert clients.begun == ["other"]


async def test_a_request_that_is_canceled_as_its_slot_comes_passes_the_slot_on(clients: Clients) -> None:
    waiting, _ = await clients.join("left", "other")
    clients.queue.leave("first")
    waiting.cancel()
    await settle()

    assert clients.begun == ["other"]


async def test_a_slot_that_nobody_waits_for_is_free_again(clients: Clients) -> None:
    await clients.leave("first")
    await clients.join("next")

    assert clients.begun == ["next"]


def crowd_of(count: int) -> list[str]:
    return [f"crowd{number}" for number in range(count)]


async def test_a_client_that_comes_after_a_crowd_is_next(clients: Clients) -> None:
    await clients.join(*crowd_of(CROWD + 1), "other")
    await clients.leave("first", "other")

    assert clients.begun == ["other", "crowd0"]


async def test_a_client_whose_requests_are_few_is_no_crowd(clients: Clients) -> None:
    await clients.join(*crowd_of(CROWD), "other")
    await clients.leave("first", "crowd")

    assert clients.begun == ["crowd0", "other"]


async def test_a_crowd_alone_has_all_slots() -> None:
    clients = Clients(MAX_BEGINNING)
    await clients.join(*crowd_of(100))

    assert len(clients.begun) == MAX_BEGINNING


async def test_while_another_client_begins_a_request_a_crowd_has_few_slots() -> None:
    clients = Clients(MAX_BEGINNING)
    await clients.join(*crowd_of(100), "other")
    await clients.leave(*["crowd"] * (MAX_BEGINNING - CROWD_SLOTS))
    assert clients.begun == [*crowd_of(MAX_BEGINNING), "other"]

    await clients.leave("crowd")
    assert len(clients.begun) == MAX_BEGINNING + 2

    await clients.leave("other")
    assert len(clients.begun) == MAX_BEGINNING + 2 + (MAX_BEGINNING - CROWD_SLOTS)


async def test_a_crowd_has_its_slots_however_many_other_clients_there_are() -> None:
    clients = Clients(MAX_BEGINNING)
    first, later = "abcdefgh", "ijklmnop"
    await clients.join(*first)
    await clients.join(*crowd_of(100), *later)
    clients.begun.clear()
    await clients.leave(*first)

    assert clients.begun == [*crowd_of(CROWD_SLOTS), *later[: MAX_BEGINNING - CROWD_SLOTS]]


async def test_a_crowd_that_has_been_served_is_a_client_like_others(clients: Clients) -> None:
    await clients.join(*crowd_of(CROWD + 1))
    await clients.leave("first", *["crowd"] * CROWD)
    await clients.join("crowd99", "other")
    await clients.leave("crowd", "crowd")

    assert clients.begun[-2:] == ["crowd99", "other"]


Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


class Served:
    """Requests to one application, of which one begins at a time."""

    def __init__(self, answer: Answer, *, max_held_s: float = LONG_S) -> None:
        self.begun: list[str] = []
        self.bodies: asyncio.Queue[Message] = asyncio.Queue()
        self.answer = answer
        self._app = FairStarts(self._note, StartQueue(1), max_held_s=max_held_s)
        self._tasks: list[asyncio.Task[None]] = []

    async def request(self, name: str, *, path: str = "/v1/jobs", **headers: str) -> None:
        """Sends a request from an address of its own."""
        scope = {
            "type": "http",
            "path": path,
            "client": (name, 1),
            "headers": [(header.replace("_", "-").encode(), value.encode()) for header, value in headers.items()],
        }
        self._tasks.append(asyncio.create_task(self._app(scope, self.bodies.get, _discard)))
        await settle()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _note(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(scope["client"][0])
        await self.answer(scope, receive, send)


async def _discard(_message: Message) -> None:
    return None


async def hang(*_: Any) -> None:
    await asyncio.Event().wait()


async def begin_a_body(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send(START)
    await send(PART)
    await hang()


async def read_a_body(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()
    await hang()


async def fail(*_: Any) -> None:
    raise ValueError


async def test_a_request_begins_after_the_one_before_it_has_answered() -> None:
    answered = asyncio.Event()

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answered.wait()
        await send(START)
        await send(END)

    served = Served(answer)
    await served.request("one")
    await served.request("two")
    assert served.begun == ["one"]

    answered.set()
    await settle()
    assert served.begun == ["one", "two"]


@pytest.mark.parametrize("answer", [begin_a_body, fail])
async def test_a_response_that_has_begun_or_failed_holds_nobody_up(answer: Answer) -> None:
    served = Served(answer)
    await served.request("one")
    await served.request("two")

    assert served.begun == ["one", "two"]
    await served.close()


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_a_health_check_waits_for_no_slot(path: str) -> None:
    served = Served(hang)
    await served.request("one")
    await served.request("two", path=path)

    assert served.begun == ["one", "two"]
    await served.close()


async def test_a_request_whose_body_does_not_come_holds_nobody_up() -> None:
    served = Served(read_a_body)
    await served.request("one", content_length="2")
    await served.request("two", content_length="2")

    assert served.begun == ["one", "two"]
    await served.close()


async def test_a_request_whose_body_has_come_waits_for_its_turn_again() -> None:
    served = Served(read_a_body)
    await served.request("one", content_length="2")
    served.bodies.put_nowait(BODY)
    await settle()
    await served.request("two")

    assert served.begun == ["one"]
    await served.close()


async def test_two_tasks_that_read_the_body_of_one_request_leave_one_slot() -> None:
    async def read_twice(_scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.gather(receive(), receive())
        await send(START)
        await send(END)

    served = Served(read_twice)
    await served.request("one", content_length="2")
    for _ in range(2):
        served.bodies.put_nowait(BODY)
    await settle()
    served.answer = hang
    await served.request("two")
    await served.request("three")

    assert served.begun == ["one", "two"]
    await served.close()


async def test_a_request_that_waits_for_something_else_gives_its_slot_up() -> None:
    begun = asyncio.Event()

    async def answer(scope: Scope, *_: Any) -> None:
        if scope["client"][0] == "two":
            begun.set()
        await hang()

    served = Served(answer, max_held_s=0.01)
    await served.request("one")
    await served.request("two")

    async with asyncio.timeout(60):
        await begun.wait()
    await served.close()
