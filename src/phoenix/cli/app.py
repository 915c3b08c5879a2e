"""The commands of `phoenix` and their names."""

from typing import Annotated

import typer

from phoenix import __version__
from phoenix.cli.bench.command import run_bench
from phoenix.cli.capacity.command import capacity
from phoenix.cli.generate import edit, generate
from phoenix.cli.jobs import artifacts_app, jobs_app
from phoenix.cli.keys.command import keys_app
from phoenix.cli.models import models_app
from phoenix.cli.plan import plan
from phoenix.cli.serverless.runpod import PASS_OPTIONS_ON, run_runpod
from phoenix.cli.serving import db_app, run_api, run_doctor, run_workers
from phoenix.cli.up import run_up
from phoenix.private_files import keep_files_private

app = typer.Typer(
    name="phoenix",
    help="Phoenix: reels in, MP4s out, progress you can trust.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local values would show API keys and prompts.
    pretty_exceptions_enable=False,
)
app.command("up")(run_up)
app.command("generate")(generate)
app.command("edit")(edit)
app.command("plan")(plan)
app.add_typer(jobs_app, name="jobs")
app.add_typer(artifacts_app, name="artifacts")
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
app.command("api")(run_api)
app.command("worker")(run_workers)
app.add_typer(db_app, name="db")
app.command("doctor")(run_doctor)
app.command("bench")(run_bench)
app.command("capacity")(capacity)
app.command("runpod", context_settings=PASS_OPTIONS_ON)(run_runpod)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def phoenix(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Phoenix: reels in, MP4s out, progress you can trust."""


def main() -> None:
    keep_files_private()
    app()
