"""`phoenix queues …`: list the queues and what they start next; pause and resume queues, models and keys."""

from enum import StrEnum
from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import exit_on_error, out, print_json
from phoenix.cli.tables import queued_jobs_table, queues_table
from phoenix.contract import PauseKind

queues_app = typer.Typer(no_args_is_help=True, help="List queues; pause and resume queues, models and keys.")


class QueueChoice(StrEnum):
    """The names of `contract.QueueName`, for the command line."""

    GPU = "gpu"
    REMOTE = "remote"
    MEDIA = "media"


QueueArgument = Annotated[QueueChoice | None, typer.Argument(help="The queue; not needed with --model or --key.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="A model, in place of a queue.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="The id of a key, in place of a queue.")]


@queues_app.command("list")
def list_queues(as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """List the queues, and what is paused."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        view = phoenix.queue()
        if as_json:
            print_json(view)
            return
        out.print(queues_table(view.queues))
        for each in phoenix.list_pauses():
            out.print(f"The {each.kind.value} {each.name} is paused{f': {each.reason}' if each.reason else ''}.")


@queues_app.command("next")
def list_next(
    queue: Annotated[QueueChoice, typer.Argument(help="The queue.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="The most jobs to list.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """List the jobs of a queue in the order in which they start, and why each one waits."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.queued_jobs(queue.value, limit=limit)
        if as_json:
            print_json(found)
            return
        out.print(queued_jobs_table(found.data, width=out.width))
        if found.has_more:
            out.print("More jobs wait behind them.")


@queues_app.command("pause")
def pause(
    queue: QueueArgument = None,
    model: ModelOption = None,
    key: KeyOption = None,
    reason: Annotated[str | None, typer.Option(help="Why; shown with each job that waits for the end of it.")] = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Let nothing of a queue, a model or a key start. What runs already ends as usual."""
    kind, name = _subject(queue, model, key)
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.pause(kind, name, reason=reason)
        out.print(f"The {kind.value} {name} is paused.")


@queues_app.command("resume")
def resume(
    queue: QueueArgument = None,
    model: ModelOption = None,
    key: KeyOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Let a paused queue, model or key start again."""
    kind, name = _subject(queue, model, key)
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.resume(kind, name)
        out.print(f"The {kind.value} {name} is resumed.")


def _subject(queue: QueueChoice | None, model: str | None, key: str | None) -> tuple[PauseKind, str]:
    given = [(PauseKind.QUEUE, queue and queue.value), (PauseKind.MODEL, model), (PauseKind.KEY, key)]
    named = [(kind, name) for kind, name in given if name]
    if len(named) != 1:
        raise typer.BadParameter("give either a queue, --model or --key")
    return named[0]
