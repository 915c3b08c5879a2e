#!/bin/sh
# uvloop accepts one connection in each turn of its event loop, whatever the backlog. The loop of asyncio accepts as many
# as wait. When many connections arrive at once, a new one (a health check, say) waits for as many turns as there are
# connections before it, and each turn runs whatever the accepted ones have to do. Copies of the listening socket, each
# with a server of its own, share the queue of the kernel: one turn then accepts one connection for each copy.
#
# Seen with uvloop 0.23.0: 64 turns for 64 connections that wait, 1 turn with asyncio, and 8 with eight copies.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvloop==0.23.0
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import os
import socket

import uvloop

CONNECTIONS = 64


async def count_turns(copies):
    """The turns from the first to the last of the connections that wait already."""
    accepted = []
    first = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listening = [first, *(socket.socket(fileno=os.dup(first.fileno())) for _ in range(copies - 1))]
    clients = [socket.create_connection(first.getsockname()) for _ in range(CONNECTIONS)]
    loop = asyncio.get_running_loop()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.append(transport)

    servers = [await loop.create_server(Protocol, sock=each, backlog=2048) for each in listening]
    turns = 0
    while len(accepted) < CONNECTIONS:
        before = len(accepted)
        await asyncio.sleep(0)
        turns += bool(accepted)
        assert turns < 10 * CONNECTIONS, (before, len(accepted))
    for each in (*accepted, *clients, *servers):
        each.close()
    return turns


def run(loop_factory, copies):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(count_turns(copies))


one, eight, plain = run(uvloop.new_event_loop, 1), run(uvloop.new_event_loop, 8), run(asyncio.SelectorEventLoop, 1)
print("turns: uvloop", one, "with eight copies", eight, "asyncio", plain)
assert one >= CONNECTIONS - 2 and eight <= CONNECTIONS / 4 and plain <= 4
print("as seen")
PYTHON
