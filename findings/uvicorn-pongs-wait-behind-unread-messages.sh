#!/bin/sh
# uvicorn stops reading a WebSocket while a message waits for the application, so that it does not see the pongs of the
# client either. A client that answers every ping is closed with 1011 "keepalive ping timeout" while an application lets
# it wait for longer than `ws_ping_timeout`, for example because a queue is full. `ws_ping_timeout=None` sends pings
# without a deadline.
#
# Seen with uvicorn 0.54.0 and websockets 17.4 (`ws="websockets-sansio"`).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvicorn==0.54.0 websockets==17.4
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import socket

import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def application(scope, receive, send):
    """Reads nothing after the handshake."""
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(60)


async def close_code(timeout_s):
    options = {"ws": "websockets-sansio", "ws_ping_interval": 0.5, "ws_ping_timeout": timeout_s}
    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_level="critical", **options))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with connect(f"ws://127.0.0.1:{listening.getsockname()[1]}", ping_interval=None) as client:
            for _ in range(3):
                await client.send(b"x" * 1000)
            try:
                # The client reads, and so answers pings, all the time.
                await asyncio.wait_for(client.recv(), 5)
            except ConnectionClosed:
                code = client.close_code
            except TimeoutError:
                code = None
        serving.cancel()
    return code


with_deadline, without = asyncio.run(close_code(0.5)), asyncio.run(close_code(None))
print(f"with a deadline of 0.5 s: {with_deadline}; without a deadline: {without}")
assert (with_deadline, without) == (1011, None)
PYTHON
