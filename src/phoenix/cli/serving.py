"""The commands that run on a server: `phoenix api`, `background`, `worker`, `db upgrade` and `doctor`."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from phoenix.cli.console import FAILED, NEWER_SCHEMA, USAGE, err, exit_on_error, out, printable, read_settings
from phoenix.cli.options import HostOption, PortOption, check_device_names, with_address
from phoenix.errors import PhoenixError, install_extra
from phoenix.process_memory import no_garbage_collection


def list_devices() -> list[str]:
    """The name of every GPU if this machine has several; otherwise `auto`, which the worker resolves by itself."""
    if find_spec("torch") is None:
        return ["auto"]
    count = count_visible(len(list(Path("/dev").glob("nvidia[0-9]*"))), os.environ)
    return [f"cuda:{number}" for number in range(count)] if count > 1 else ["auto"]


def count_visible(found: int, environment: Mapping[str, str]) -> int:
    """How many of the `found` GPUs are visible to CUDA in this process."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    # CUDA ignores all entries from the first invalid entry on, which usually is -1.
    names = [name.strip() for name in visible.split(",")]
    valid = next((index for index, name in enumerate(names) if name in ("", "-1")), len(names))
    return min(valid, found)


class Queue(StrEnum):
    """The queues of a worker."""

    GPU = "gpu"
    REMOTE = "remote"
    MEDIA = "media"
    ALL = "all"


STYLES = {"ok": "green", "note": "yellow", "missing": "red"}

db_app = typer.Typer(no_args_is_help=True, help="Maintain the database.")

# FastAPI, SQLAlchemy and arq take a second to import. Each command imports them when it runs, so that no command
# imports what only another one needs.
# ruff: noqa: PLC0415


def run_api(
    host: HostOption = None,
    port: PortOption = None,
    reload: Annotated[bool, typer.Option("--reload", help="Restart when a source file changes.")] = False,
    reload_dir: Annotated[
        list[Path] | None, typer.Option(help="Folder to watch instead of the package; may be repeated.")
    ] = None,
    socket_fd: Annotated[int | None, typer.Option("--fd", hidden=True, help="An open socket to serve.")] = None,
) -> None:
    """Run one API replica."""
    with no_garbage_collection():
        from phoenix.api.server.serve import serve, serve_reloading
        from phoenix.cli.preflight import check_named, require_schema

    settings = with_address(read_settings(), host, port)
    with exit_on_error():
        check_named(settings, serves_api=True, serves_media=False)
    require_schema(settings)
    with exit_on_error():
        if reload:
            serve_reloading(settings, reload_dir or [])
        else:
            serve(settings, socket_fd)


def run_background() -> None:
    """Run the background services apart from the API, for replicas with PHOENIX_API__BACKGROUND=false."""
    with no_garbage_collection():
        from phoenix.api.lifespan import serve_background
        from phoenix.api.openai.callbacks import choose_signer
        from phoenix.cli.preflight import check_named, require_schema

    settings = read_settings()
    with exit_on_error():
        check_named(settings, serves_api=True, serves_media=False)
    require_schema(settings)
    with exit_on_error():
        serve_background(settings, choose_signer(settings))


def run_workers(
    queue: Annotated[
        list[Queue] | None,
        typer.Option(
            help="gpu renders clips, remote sends clips to a service, media prepares sound and joins clips; `all` if "
            "unset. May be repeated: each queue has processes of its own."
        ),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            callback=check_device_names,
            help="Device: cpu, cuda:N or auto; may be repeated. `cuda:0+cuda:1` is one worker that has both.",
        ),
    ] = None,
    processes_per_device: Annotated[int, typer.Option(min=1, max=64, help="Worker processes on each device.")] = 1,
) -> None:
    """Run workers under a supervisor, which replaces dead workers."""
    with no_garbage_collection():
        from phoenix.child_processes import follow_lifeline
        from phoenix.child_processes.fork_server import start_fork_server
        from phoenix.cli.preflight import check_named, require_schema
        from phoenix.telemetry.logs import configure_logs
        from phoenix.worker.child_process import PROCESS_NAME
        from phoenix.worker.main import main as run_worker
        from phoenix.worker.supervisor import plan_processes, run_supervisor

    # First, because what follows starts threads.
    fork_server = start_fork_server(run_worker, name=PROCESS_NAME)
    settings = read_settings()
    queues = queue or [Queue.ALL]
    with exit_on_error():
        check_named(settings, serves_api=False, serves_media=not {Queue.MEDIA, Queue.ALL}.isdisjoint(queues))
    require_schema(settings)
    configure_logs(level=settings.log.level, json_lines=settings.log.json_lines)
    follow_lifeline(lambda: os._exit(FAILED))
    devices = device or list_devices()
    specs = [spec for each in queues for spec in plan_processes(each.value, devices, processes_per_device)]
    with exit_on_error():
        raise typer.Exit(run_supervisor(settings, specs, fork_server))


def run_frames(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; PHOENIX_FRAMES__HOST, or PHOENIX_API__HOST, if unset.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of WebSocket and HTTP; 8090 if unset.")
    ] = None,
    grpc_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of gRPC; 8091 if unset.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, max=64, help="Engine processes on each device.")] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(callback=check_device_names, help="Device: cpu, cuda:N or auto; may be repeated."),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=1024, help="Most frames of one call of the model.")] = None,
    window_ms: Annotated[
        float | None, typer.Option(min=0, help="Longest time that a frame waits for others of its batch.")
    ] = None,
) -> None:
    """Serve frames of faces that speak, over WebSocket and gRPC."""
    given = {"host": host, "port": port, "grpc_port": grpc_port, "processes": processes, "batch": batch}
    given |= {"devices": tuple(device) if device else None, "window_ms": window_ms}
    named = {name: value for name, value in given.items() if value is not None}
    settings = read_settings()
    settings = settings.model_copy(update={"frames": settings.frames.model_copy(update=named)})
    with exit_on_error():
        if find_spec("grpc") is None:
            raise PhoenixError(f"The packages of gRPC are missing: {install_extra('frames')}.")
    with no_garbage_collection():
        from phoenix.cli.preflight import require_schema
        from phoenix.frames.front.serve import serve, with_front_host

    if with_front_host(settings).is_auth_required:
        require_schema(settings)
    with exit_on_error():
        serve(settings)


@db_app.command("upgrade")
def upgrade_database() -> None:
    """Upgrade the database to the newest schema. Safe on every deploy and on several hosts at once."""
    from phoenix.db.engine import database_url
    from phoenix.db.migrate import upgrade

    settings = read_settings()
    with exit_on_error():
        if not upgrade(database_url(settings.database, settings.data_dir)):
            err.print(NEWER_SCHEMA)


@db_app.command("new-key")
def make_encryption_key() -> None:
    """Print a new key for PHOENIX_DATABASE__ENCRYPTION_KEYS. It is stored nowhere."""
    from cryptography.fernet import Fernet

    print(Fernet.generate_key().decode())


@db_app.command("encrypt")
def encrypt_secrets() -> None:
    """Encrypt the stored secrets with the first of PHOENIX_DATABASE__ENCRYPTION_KEYS. Other keys are needed no more."""
    from phoenix.access.tokens import encrypt_shared_secrets
    from phoenix.jobs.webhooks.signing_secrets import encrypt_webhook_secrets
    from phoenix.services import open_database

    settings = read_settings()

    async def encrypt() -> int:
        database = open_database(settings)
        try:
            async with database.write() as uow:
                count = await encrypt_shared_secrets(uow) + await encrypt_webhook_secrets(uow)
            await database.erase_deleted()
            return count
        finally:
            await database.close()

    if not settings.database.encryption_keys:
        err.print("PHOENIX_DATABASE__ENCRYPTION_KEYS: there is no key; `phoenix db new-key` makes one.", style="red")
        raise typer.Exit(USAGE)
    with exit_on_error():
        out.print(f"{asyncio.run(encrypt())} secrets are encrypted with the first key.")


def run_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")] = False,
) -> None:
    """Report what this machine has and lacks, and the remedies. Status 1 if something is missing."""
    from phoenix.cli.doctor import CheckStatus, Finding, examine

    findings = asyncio.run(examine(read_settings()))
    missing = [finding for finding in findings if finding.status is CheckStatus.MISSING]

    def plain(finding: Finding) -> dict[str, str | None]:
        return {
            "name": finding.name,
            "status": finding.status.value,
            "detail": finding.detail,
            "remedy": finding.remedy or None,
        }

    if as_json:
        document = {"healthy": not missing, "findings": [plain(finding) for finding in findings]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            status = finding.status.value
            out.print(f"{status:8} {finding.name:11} {printable(finding.detail)}", style=STYLES[status])
            if finding.remedy:
                out.print(f"{'':20} {finding.remedy}")
        counts = Counter(finding.status for finding in findings)
        out.print(", ".join(f"{counts[status]} {status.value}" for status in CheckStatus if counts[status]))
    if missing:
        raise typer.Exit(FAILED)
