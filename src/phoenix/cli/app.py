"""The commands of `phoenix`, their names, and where each one is. The modules of a command are imported when it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from phoenix import __version__
from phoenix.private_files import keep_files_private

# The command checks its options itself.
PASS_OPTIONS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@dataclass(frozen=True)
class CommandPlace:
    """Where a command is: a module of `phoenix.cli`, and in it a function or a Typer with subcommands.

    `summary`: the line of `phoenix --help`. It is the first paragraph of the command's own help, which a test compares.
    """

    module: str
    attribute: str
    summary: str
    context_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


COMMANDS = {
    "up": CommandPlace("up", "run_up", "Run everything on this machine until Ctrl-C."),
    "generate": CommandPlace("generate", "generate", "Make a reel, and wait for its video."),
    "edit": CommandPlace("generate", "edit", "Change clips of a reel that has ended, and wait for the new video."),
    "storyboard": CommandPlace(
        "storyboards.command", "storyboard", "Turn an idea into a storyboard, and into a video with --generate."
    ),
    "lipsync": CommandPlace("lipsync.command", "lipsync", "Make the face in a video or a picture say a sound."),
    "approve": CommandPlace("jobs", "approve", "Approve the draft of a held reel, and wait for the video of the reel."),
    "replay": CommandPlace(
        "provenance.replay",
        "replay",
        "Make the result of a manifest again. Status 1 if its bytes differ, with what differs.",
    ),
    "plan": CommandPlace(
        "plan", "plan", "Show what `phoenix generate` would make with the same options, and make nothing."
    ),
    "api": CommandPlace("serving", "run_api", "Run one API replica."),
    "background": CommandPlace(
        "serving",
        "run_background",
        "Run the background services apart from the API, for replicas with PHOENIX_API__BACKGROUND=false.",
    ),
    "worker": CommandPlace("serving", "run_workers", "Run workers under a supervisor, which replaces dead workers."),
    "frames": CommandPlace("serving", "run_frames", "Serve frames of faces that speak, over WebSocket and gRPC."),
    "doctor": CommandPlace(
        "serving",
        "run_doctor",
        "Report what this machine has and lacks, and the remedies. Status 1 if something is missing.",
    ),
    "bench": CommandPlace(
        "bench.command",
        "run_bench",
        "Measure how fast this machine renders and encodes clips of a model. Keeps none of the clips.",
    ),
    "capacity": CommandPlace(
        "capacity.command",
        "capacity",
        "Compute how many GPU workers a load needs, and their cost, without a server.",
    ),
    "runpod": CommandPlace(
        "serverless.runpod", "run_runpod", "Answer the jobs of a RunPod serverless endpoint.", PASS_OPTIONS_ON
    ),
    "mcp": CommandPlace("agents.command", "run_mcp", "Serve the tools of agents over stdio or HTTP (MCP)."),
    "jobs": CommandPlace("jobs", "jobs_app", "Inspect and control jobs."),
    "search": CommandPlace("jobs", "search", "Find jobs by their words, or by what they are about."),
    "artifacts": CommandPlace("jobs", "artifacts_app", "List uploads and files of jobs, and delete uploads."),
    "models": CommandPlace("models", "models_app", "List models, and download their weights."),
    "queues": CommandPlace("steering.pauses", "queues_app", "List queues; pause and resume queues, models and keys."),
    "workers": CommandPlace("steering.workers", "workers_app", "List workers, drain them, and let them claim again."),
    "shares": CommandPlace("steering.shares", "shares_app", "Give keys weights in the queue, and limits."),
    "bulk": CommandPlace(
        "steering.bulk", "bulk", "Cancel, retry or delete all jobs that match, after a preview and a question."
    ),
    "audit": CommandPlace("steering.audit", "audit", "List what administrators did, newest first."),
    "stats": CommandPlace(
        "history.fleet_history", "show_stats", "Show what the fleet did: jobs, waits, durations, failures, utilisation."
    ),
    "usage": CommandPlace(
        "history.fleet_history", "show_usage", "Show what keys have used: clips, seconds on devices, bytes."
    ),
    "keys": CommandPlace("keys.command", "keys_app", "Create, change and end API keys."),
    "db": CommandPlace("serving", "db_app", "Maintain the database."),
}


def load_command(name: str) -> Any:
    """Imports the command and returns it as Typer runs it. Raises `KeyError` if there is no command with this name."""
    place = COMMANDS[name]
    found = getattr(import_module(f"phoenix.cli.{place.module}"), place.attribute)
    around = typer.Typer(add_completion=False, callback=_do_nothing)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name, context_settings=dict(place.context_settings))(found)
    group: Any = typer.main.get_command(around)
    return group.commands[name]


def _do_nothing() -> None:
    """With a callback, Typer makes a group of one command too."""


class _LazyGroup(TyperGroup):
    """Its commands have only a name and a summary, until one of them is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else None, rest


app = typer.Typer(
    name="phoenix",
    cls=_LazyGroup,
    help="Phoenix: reels in, MP4s out, progress you can trust.",
    no_args_is_help=True,
    # A traceback with local values would show API keys and prompts.
    pretty_exceptions_enable=False,
)


def _stand_in() -> NoReturn:
    raise AssertionError("a stand-in is replaced before it runs")


for _name, _place in COMMANDS.items():
    app.command(_name, help=_place.summary)(_stand_in)


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
