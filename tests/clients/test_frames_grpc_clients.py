"""Clients that are generated from the .proto file, in Node, register a face, render a frame and run a session."""

import asyncio
from pathlib import Path

from fixtures.client_tools import CLIENTS, Tools, last_json
from fixtures.echo_frames import FPS, EchoFront
from fixtures.repository import SOURCE

SCRIPT = "speak_by_grpc.mjs"


async def test_the_grpc_packages_of_node_speak_with_the_server(
    echo_front: EchoFront, node_tools: Tools, tmp_path: Path
) -> None:
    (tmp_path / SCRIPT).write_text((CLIENTS / "node" / SCRIPT).read_text())
    (tmp_path / "node_modules").symlink_to(node_tools.programs.parent)
    (tmp_path / "face.mp4").write_bytes(b"a face")
    command = ("/usr/bin/env", "node", SCRIPT, echo_front.grpc, str(SOURCE.parent), "face.mp4")
    seen = last_json(await asyncio.to_thread(node_tools.run, *command, folder=tmp_path))

    assert seen["kinds"] == ["opened", "frame", "ended"]
    assert seen["sequences"] == list(range(25))
    assert (seen["audioBytes"], seen["fps"], seen["fault"]) == (32_000, FPS, "NOT_FOUND")
    assert echo_front.service.sources == [b"a face"]
