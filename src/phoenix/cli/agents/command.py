"""`phoenix mcp`: lets agents use a Phoenix server by the Model Context Protocol."""

from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, UrlOption, local_url
from phoenix.cli.console import USAGE, err, exit_on_error, read_settings
from phoenix.errors import install_extra


def run_mcp(
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
    http: Annotated[
        bool, typer.Option("--http", help="Serve /mcp over HTTP, for callers with keys of their own, and not stdio.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on, with --http.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on, with --http.")] = 8090,
) -> None:
    """Serve the tools of agents over stdio or HTTP (MCP)."""
    # The SDK takes a second to import, and is an extra.
    try:
        from phoenix.mcp.connection import PhoenixConnection  # noqa: PLC0415
        from phoenix.mcp.server import serve_http, serve_stdio  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        err.print(f"The SDK of MCP is not installed: {install_extra('mcp')}.", style="red")
        raise typer.Exit(USAGE) from error
    connection = PhoenixConnection(url or local_url(read_settings()), api_key)
    with exit_on_error():
        if http:
            serve_http(connection, host, port)
        else:
            serve_stdio(connection)
