"""`phoenix api`, `worker`, `db upgrade` and `doctor`: the commands with heavy imports."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phoenix.cli.console import err, out, printable
from phoenix.cli.problems import FAILED, NEWER_SCHEMA, explained, read_settings
from phoenix.cli.schema_check import require_schema
from phoenix.cli.serving_options import HostOption, PortOption, check_device_names


class Queue(StrEnum):
    GPU = "gpu"
    REMOTE = "remote"
    MEDIA = "media"
    ALL = "all"


STYLES = {"ok": "green", "note": "yellow", "missing": "red"}

db_app = typer.Typer(no_args_is_help=True, help="Maintain the database.")

# The rooms behind these commands import FastAPI, SQLAlchemy and arq, which takes a second. They are imported only
# when a command needs them, so that `phoenix --help` and the client commands respond at once.
# ruff: noqa: PLC0415


def run_api(
    host: HostOption = None,
    port: PortOption = None,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a source file changes.")] = False,
    reload_dir: Annotated[list[Path] | None, typer.Option(help="Watched instead of Phoenix; may be repeated.")] = None,
    socket_fd: Annotated[int | None, typer.Option("--fd", hidden=True, help="An open socket to serve.")] = None,
) -> None:
    """Run one API replica."""
    from phoenix.cli.api_reload import serve_reloading
    from phoenix.cli.api_server import serve
    from phoenix.cli.preflight import check_named

    settings = read_settings()
    given = {name: value for name, value in {"host": host, "port": port}.items() if value is not None}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=given)})
    with explained():
        check_named(settings, serves_api=True, serves_media=False)
    require_schema(settings)
    with explained():
        if reload:
            serve_reloading(settings, reload_dir or [])
        else:
            serve(settings, socket_fd)


def run_workers(
    queue: Annotated[
        Queue, typer.Option(help="gpu renders clips, remote has a service render them, media prepares sound and joins.")
    ] = Queue.ALL,
    device: Annotated[
        list[str] | None, typer.Option(callback=check_device_names, help="cpu, cuda:N or auto; may be repeated.")
    ] = None,
    processes_per_device: Annotated[int, typer.Option(min=1, max=64, help="Worker processes on each device.")] = 1,
) -> None:
    """Run workers, under a supervisor that restarts dead ones."""
    from phoenix.cli.devices import list_devices
    from phoenix.cli.preflight import check_named
    from phoenix.processes import follow_lifeline
    from phoenix.telemetry.logs import configure_logs
    from phoenix.worker.supervisor import posts_for, run_supervisor

    settings = read_settings()
    with explained():
        check_named(settings, serves_api=False, serves_media=queue in (Queue.MEDIA, Queue.ALL))
    require_schema(settings)
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    follow_lifeline(lambda: os._exit(FAILED))
    posts = posts_for(queue.value, device or list_devices(), processes_per_device)
    with explained():
        raise typer.Exit(run_supervisor(settings, posts))


@db_app.command("upgrade")
def upgrade_database() -> None:
    """Upgrade the database to the newest schema. Safe on every deploy, and from several hosts at once."""
    from phoenix.db.engine import database_url
    from phoenix.db.migrate import upgrade

    settings = read_settings()
    with explained():
        if not upgrade(database_url(settings.database, settings.data_dir)):
            err.print(NEWER_SCHEMA)


def run_doctor() -> None:
    """Report what this machine has, what it lacks, and what to do about it. Status 1 if something is missing."""
    from phoenix.cli.doctor import Verdict, examine

    findings = asyncio.run(examine(read_settings()))
    for finding in findings:
        out.print(
            f"{finding.verdict.value:8} {finding.name:11} {printable(finding.detail)}",
            style=STYLES[finding.verdict.value],
        )
        if finding.remedy:
            out.print(f"{'':20} {finding.remedy}")
    if any(finding.verdict is Verdict.MISSING for finding in findings):
        raise typer.Exit(FAILED)
