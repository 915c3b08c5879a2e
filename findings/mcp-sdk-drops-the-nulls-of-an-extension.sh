#!/bin/sh
# A result model of an extension of the Model Context Protocol loses its null fields in the Python SDK, also where the
# field is required: the tasks extension wants `ttlMs: null` for a task without an end, and a client that has another
# default for the field takes that. A dictionary as the result keeps its nulls.
#
# Seen with mcp 2.3.0: a model with `ttl_ms=None` arrives without the field, and a dictionary with it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mcp==2.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from typing import Literal

import mcp_types
from mcp import Client
from mcp.server import MCPServer
from mcp.server.extension import Extension, MethodBinding


class Task(mcp_types.Result):
    task_id: str
    ttl_ms: int | None


class ReceivedTask(mcp_types.Result):
    task_id: str
    ttl_ms: int | None = 60_000


class Tasks(Extension):
    identifier = "io.modelcontextprotocol/tasks"

    def methods(self):
        async def as_model(context, params):
            return Task(task_id="1", ttl_ms=None)

        async def as_dictionary(context, params):
            return {"taskId": "1", "ttlMs": None, "resultType": "complete"}

        return [
            MethodBinding("tasks/model", mcp_types.RequestParams, as_model),
            MethodBinding("tasks/dictionary", mcp_types.RequestParams, as_dictionary),
        ]


Request = mcp_types.Request[mcp_types.RequestParams, Literal["tasks/model", "tasks/dictionary"]]


async def main():
    async with Client(MCPServer("tasks", version="1", extensions=[Tasks()])) as client:
        for method, expected in (("tasks/model", 60_000), ("tasks/dictionary", None)):
            request = Request(method=method, params=mcp_types.RequestParams())
            task = await client.session.send_request(request, ReceivedTask)
            assert task.ttl_ms == expected, (method, task)


asyncio.run(main())
print("as seen")
PYTHON
