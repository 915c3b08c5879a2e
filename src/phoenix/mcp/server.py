"""Puts the tools together, and serves them over stdio or HTTP."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from phoenix import __version__
from phoenix.client import PhoenixClientError
from phoenix.errors import PhoenixError
from phoenix.mcp.connection import PhoenixConnection, explain
from phoenix.mcp.making import MakingTools
from phoenix.mcp.reading import ReadingTools
from phoenix.mcp.tasks import JobTasks

INSTRUCTIONS = """Phoenix renders reels: videos of several clips, each from a prompt.

1. list_models shows what can be rendered. The model `animatic` draws stand-ins in seconds, to try prompts and timing.
2. create_reel starts a reel, from clips or from a storyboard, and answers with a job at once. estimate_reel says before
   what it would take and cost.
3. get_job with wait_s follows it, and has links to each finished clip and to the result. Show the links to the user.
4. edit_reel changes clips of a reel that has ended. Only changed clips are rendered again.
Rendering takes GPU time. Try a change as a draft first, and do not repeat create_reel because it takes long."""

LOOKS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
ENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
Tool = Callable[..., Awaitable[Any]]


def create_server(connection: PhoenixConnection) -> MCPServer[Any]:
    """The server with all of its tools. It asks Phoenix for nothing until a tool is called."""
    server: MCPServer[Any] = MCPServer(
        "phoenix",
        title="Phoenix",
        version=__version__,
        instructions=INSTRUCTIONS,
        extensions=[JobTasks(connection)],
        log_level="WARNING",
    )
    reading, making = ReadingTools(connection), MakingTools(connection)
    groups: list[tuple[ToolAnnotations, list[Tool]]] = [
        (
            LOOKS,
            [reading.list_models, reading.estimate_reel, reading.get_job, reading.search_jobs, reading.get_last_frame],
        ),
        (
            MAKES,
            [
                making.upload_file,
                making.create_reel,
                making.edit_reel,
                making.stitch_videos,
                making.sync_lips,
                making.create_storyboard,
                making.refine_storyboard,
                making.retry_job,
                making.approve_draft,
            ],
        ),
        (ENDS, [making.cancel_job]),
    ]
    for annotations, tools in groups:
        for tool in tools:
            server.add_tool(_explained(tool), annotations=annotations)
    return server


def _explained(tool: Tool) -> Tool:
    """The tool with errors that say what to correct."""

    @functools.wraps(tool)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await tool(*args, **kwargs)
        except PhoenixClientError as error:
            raise ToolError(explain(error)) from error
        except PhoenixError as error:
            raise ToolError(str(error)) from error

    return call


def serve_stdio(connection: PhoenixConnection) -> None:
    """Serves the process that has started this one, until it closes the pipe."""
    create_server(connection).run("stdio")


def serve_http(connection: PhoenixConnection, host: str, port: int) -> None:
    """Serves `/mcp` until SIGTERM or SIGINT. Each request has all that it needs, so any number of copies can serve."""
    app = create_server(connection).streamable_http_app(streamable_http_path="/mcp", stateless_http=True, host=host)
    uvicorn.run(app, host=host, port=port, log_level="warning")
