"""`phoenix workers …`: list the workers of a server, drain them, and let them claim again."""

import time
from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import FAILED, err, exit_on_error, out, print_json
from phoenix.cli.tables import workers_table
from phoenix.client import Phoenix

workers_app = typer.Typer(no_args_is_help=True, help="List workers, drain them, and let them claim again.")

WorkerArgument = Annotated[str, typer.Argument(metavar="WORKER", help="Id of a live worker: wrk_…")]
_LOOK_EVERY_S = 1.0


@workers_app.command("list")
def list_workers(as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """List the live workers, with what they run and the models in their memory."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.workers()
        if as_json:
            print_json(found)
            return
        out.print(workers_table(found, width=out.width) if found else "No workers.")


@workers_app.command("drain")
def drain(
    worker: WorkerArgument,
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Wait so long until nothing runs. Status 1 if it still does."),
    ] = 0,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Let a worker finish what it runs, and claim nothing more until it is resumed."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.drain_worker(worker)
        state = _wait_until_drained(phoenix, worker, seconds=wait)
        out.print(f"{worker} is {state}.")
        if wait and state != "drained":
            err.print("It still runs a task; `phoenix workers list` shows when it has ended.")
            raise typer.Exit(FAILED)


def _wait_until_drained(phoenix: Phoenix, worker_id: str, *, seconds: float) -> str:
    """The state of the worker once it is drained, or after this time. A worker that has left is drained."""
    ends_at_s = time.monotonic() + seconds
    while True:
        state = next((each.state for each in phoenix.workers() if each.id == worker_id), "drained")
        if state == "drained" or time.monotonic() >= ends_at_s:
            return state
        time.sleep(_LOOK_EVERY_S)


@workers_app.command("resume")
def resume(worker: WorkerArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Let a drained worker claim again."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.resume_worker(worker)
        out.print(f"{worker} is resumed.")
