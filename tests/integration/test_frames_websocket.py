"""Sessions over a real WebSocket: frames in order, interruption, named faults with their close codes, and the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fixtures.api import until
from fixtures.callers import id_of
from fixtures.echo_frames import FPS, EchoFront, image_of, open_echo_front
from phoenix.access.keys import Scope, create_key, revoke_key
from phoenix.frames.front.client_messages import SUBPROTOCOL, read_frame, write_sound
from phoenix.frames.interface import FrameOut
from phoenix.services import open_database
from phoenix.settings import Settings

RATE_HZ = 16_000
FRAME_BYTES = RATE_HZ // FPS * 2
OF_A_FOREIGN_PAGE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


@asynccontextmanager
async def connected(front: EchoFront, *offered: str, **options: Any) -> AsyncIterator[ClientConnection]:
    subprotocols: Any = [SUBPROTOCOL, *offered]
    async with connect(front.session_url, subprotocols=subprotocols, open_timeout=100, **options) as socket:
        yield socket


async def open_session(socket: ClientConnection, video_id: str, **fields: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "open", "video_id": video_id, **fields}))
    return await receive_json(socket)


async def receive(socket: ClientConnection) -> str | bytes:
    async with asyncio.timeout(100):
        return await socket.recv()


async def receive_json(socket: ClientConnection) -> dict[str, Any]:
    message = await receive(socket)
    assert isinstance(message, str)
    return json.loads(message)


async def receive_frame(socket: ClientConnection) -> tuple[int, FrameOut]:
    message = await receive(socket)
    assert isinstance(message, bytes)
    return read_frame(message)


async def until_closed(socket: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(100):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code, socket.close_reason


async def until_fault(socket: ClientConnection) -> tuple[str, int | None, str | None]:
    """The name in the last message, and how the connection was closed."""
    while True:
        message = await receive(socket)
        if isinstance(message, str) and (news := json.loads(message))["type"] == "error":
            assert news["detail"]
            return news["fault"], *await until_closed(socket)


async def make_key(settings: Settings, *scopes: Scope) -> str:
    database = open_database(settings)
    async with database.write() as uow:
        key = await create_key(uow, "somebody", scopes or (Scope.READ, Scope.WRITE))
    await database.close()
    return key


async def test_frames_come_back_in_order_with_their_sound(echo_front: EchoFront) -> None:
    video_id = await echo_front.register()
    sound = bytes(range(256)) * (FRAME_BYTES * 3 // 256)
    async with connected(echo_front) as socket:
        opened = await open_session(socket, video_id)
        await socket.send(write_sound(0, sound[:1000]))
        await socket.send(write_sound(1, sound[1000:]))
        await socket.send('{"type": "end"}')
        frames = [await receive_frame(socket) for _ in range(3)]
        ended = await receive_json(socket)
        closed = await until_closed(socket)

    assert socket.subprotocol == SUBPROTOCOL
    assert (opened["type"], opened["video"]["video_id"], opened["video"]["fps"]) == ("opened", video_id, FPS)
    assert [(sequence, frame.index, frame.pts_s) for sequence, frame in frames] == [(n, n, n / FPS) for n in range(3)]
    assert b"".join(frame.audio for _, frame in frames) == sound
    assert [frame.image for _, frame in frames] == [image_of(n) for n in range(3)]
    assert ended == {"type": "ended", "frames": 3}
    assert closed == (1000, "")


async def test_an_interruption_is_understood_while_sound_waits_for_the_renderer(echo_front: EchoFront) -> None:
    video_id = await echo_front.register()
    echo_front.service.gate.clear()
    async with connected(echo_front) as socket:
        await open_session(socket, video_id, max_buffered_s=0.1)
        for sequence in range(5):
            await socket.send(write_sound(sequence, b"\1" * FRAME_BYTES * 5))
        await socket.send('{"type": "clear"}')
        cleared = await receive_json(socket)
        await socket.send(write_sound(5, b"\2" * FRAME_BYTES))
        await socket.send('{"type": "end"}')
        echo_front.service.gate.set()
        sequence, frame = await receive_frame(socket)
        ended = await receive_json(socket)

    assert cleared == {"type": "cleared", "next_index": 0}
    assert (sequence, frame.audio) == (0, b"\2" * FRAME_BYTES)
    assert ended["frames"] == 1


@pytest.mark.parametrize(
    ("message", "fault", "code"),
    [
        ("hello", "MALFORMED_MESSAGE", 4400),
        (b"\0\0\0\0\1", "MALFORMED_MESSAGE", 4400),
        (write_sound(1, b"\0\0"), "OUT_OF_ORDER", 4409),
        (json.dumps({"type": "open", "video_id": "vid_1"}), "MALFORMED_MESSAGE", 4400),
    ],
)
async def test_a_wrong_message_ends_a_session_with_a_named_fault(
    echo_front: EchoFront, message: str | bytes, fault: str, code: int
) -> None:
    video_id = await echo_front.register()
    async with connected(echo_front) as socket:
        await open_session(socket, video_id)
        await socket.send(message)

        assert await until_fault(socket) == (fault, code, fault)


@pytest.mark.parametrize(
    ("opening", "fault", "code"),
    [
        ({"type": "open", "video_id": "vid_unknown"}, "NOT_FOUND", 4404),
        ({"type": "open", "video_id": "vid_1", "max_buffered_s": 1000}, "NOT_FOUND", 4404),
        ({"type": "clear"}, "MALFORMED_MESSAGE", 4400),
    ],
)
async def test_a_wrong_opening_is_answered_with_a_named_fault(
    echo_front: EchoFront, opening: dict[str, Any], fault: str, code: int
) -> None:
    async with connected(echo_front) as socket:
        await socket.send(json.dumps(opening))

        assert await until_fault(socket) == (fault, code, fault)


async def test_a_message_that_is_too_large_closes_the_connection(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, max_message_bytes=1024) as front, connected(front) as socket:
        await open_session(socket, await front.register())
        await socket.send(write_sound(0, bytes(2000)))

        assert (await until_closed(socket))[0] == 1009


async def test_a_connection_that_opens_no_session_is_closed(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, open_timeout_s=0.05) as front, connected(front) as socket:
        assert (await until_fault(socket))[:2] == ("IDLE", 4408)


async def test_a_client_that_reads_nothing_is_paused_and_then_ended(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, read_timeout_s=1) as front:
        front.service.image_bytes = 1_000_000
        video_id = await front.register()
        # It takes a message, and then leaves the next ones in the socket.
        async with connected(front, max_queue=1, max_size=None) as socket:
            await open_session(socket, video_id)
            await socket.send(write_sound(0, bytes(FRAME_BYTES * 100)))
            await socket.send('{"type": "end"}')
            await until_counted(front, 'fault="CLIENT_DOES_NOT_READ",transport="websocket"')

            made = front.service.sessions[0].made_frames

    assert made < 50


async def test_a_page_of_another_origin_cannot_open_a_socket_where_no_key_is_needed(echo_front: EchoFront) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(echo_front.session_url, additional_headers=OF_A_FOREIGN_PAGE, open_timeout=100):
            pass

    assert refused.value.response.status_code == 403


async def test_there_are_only_so_many_sessions_at_a_time(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, max_sessions=1) as front:
        video_id = await front.register()
        async with connected(front) as first, connected(front) as second:
            await open_session(first, video_id)
            refused = await open_session(second, video_id)

    assert refused["fault"] == "TOO_MANY_SESSIONS"


async def test_a_key_has_only_so_many_sessions_at_a_time(api_settings: Settings) -> None:
    async with open_echo_front(api_settings, sessions_per_key=1) as front:
        video_id = await front.register()
        async with connected(front) as first, connected(front) as second:
            await open_session(first, video_id)
            refused = await open_session(second, video_id)

    assert refused["fault"] == "RATE_LIMITED"


@pytest.mark.parametrize("way", ["header", "subprotocol"])
async def test_a_key_is_taken_from_a_header_or_a_subprotocol(
    guarded_front: EchoFront, api_settings: Settings, way: str
) -> None:
    key = await make_key(api_settings)
    header = {"Authorization": f"Bearer {key}"}
    video_id = await guarded_front.register(**header)
    offered = () if way == "header" else (f"bearer.{key}",)
    async with connected(guarded_front, *offered, additional_headers=header if way == "header" else {}) as socket:
        opened = await open_session(socket, video_id)

    assert opened["type"] == "opened"
    assert socket.subprotocol == SUBPROTOCOL


async def test_a_session_without_a_key_is_refused(guarded_front: EchoFront) -> None:
    async with connected(guarded_front) as socket:
        refused = await open_session(socket, "vid_1")

        assert refused["fault"] == "UNAUTHENTICATED"
        assert (await until_closed(socket))[0] == 4401


async def test_a_key_that_may_only_read_opens_no_session(guarded_front: EchoFront, api_settings: Settings) -> None:
    key = await make_key(api_settings, Scope.READ)
    async with connected(guarded_front, f"bearer.{key}") as socket:
        assert (await open_session(socket, "vid_1"))["fault"] == "FORBIDDEN"


async def test_a_video_of_another_key_does_not_exist(guarded_front: EchoFront, api_settings: Settings) -> None:
    owner, other = await make_key(api_settings), await make_key(api_settings)
    video_id = await guarded_front.register(Authorization=f"Bearer {owner}")
    async with connected(guarded_front, f"bearer.{other}") as socket:
        assert (await open_session(socket, video_id))["fault"] == "NOT_FOUND"


async def test_a_page_with_a_token_opens_sessions_of_one_video(
    guarded_front: EchoFront, api_settings: Settings
) -> None:
    header = {"Authorization": f"Bearer {await make_key(api_settings)}"}
    one, two = [await guarded_front.register(**header) for _ in range(2)]
    async with httpx.AsyncClient(base_url=guarded_front.url, timeout=100) as http:
        token = (await http.post(f"/v1/frames/videos/{one}/token", headers=header)).json()["token"]
    answers = []
    for video_id in (one, two):
        async with connected(guarded_front, f"token.{token}") as socket:
            answers.append(await open_session(socket, video_id))

    assert answers[0]["type"] == "opened"
    assert answers[1]["fault"] == "FORBIDDEN"


async def test_a_revoked_key_ends_its_sessions(guarded_front: EchoFront, api_settings: Settings) -> None:
    key = await make_key(api_settings)
    video_id = await guarded_front.register(Authorization=f"Bearer {key}")
    async with connected(guarded_front, f"bearer.{key}") as socket:
        await open_session(socket, video_id)
        database = open_database(api_settings)
        async with database.write() as uow:
            await revoke_key(uow, id_of(key))
        await database.close()
        await guarded_front.state.sessions.check_keys()

        assert (await until_fault(socket))[:2] == ("KEY_ENDED", 4401)


async def test_a_stop_lets_each_session_end_with_the_frames_of_what_it_has_sent(api_settings: Settings) -> None:
    async with open_echo_front(api_settings) as front, connected(front) as socket:
        await open_session(socket, await front.register())
        await socket.send(write_sound(0, bytes(FRAME_BYTES * 5)))
        first = await receive_frame(socket)
        front.stopping.set()
        rest = [await receive(socket) for _ in range(6)]
        code, _ = await until_closed(socket)

    news = [json.loads(message) for message in rest if isinstance(message, str)]
    frames = [first, *(read_frame(message) for message in rest if isinstance(message, bytes))]
    assert [sequence for sequence, _ in frames] == list(range(5))
    assert [each["type"] for each in news] == ["draining", "ended"]
    assert code == 1012


async def until_counted(front: EchoFront, labels: str) -> None:
    async with httpx.AsyncClient(base_url=front.url, timeout=100) as http:

        async def is_counted() -> bool:
            return f"{{{labels}}}" in (await http.get("/metrics")).text

        await until(is_counted)
