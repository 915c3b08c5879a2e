"""`phoenix bulk`: one action on all jobs that match, after a preview and a question."""

from collections.abc import Generator
from typing import Annotated, Any

import typer

from phoenix.cli.connecting import ApiKeyOption, OwnerOption, UrlOption, connect
from phoenix.cli.console import FAILED, err, exit_on_error, out, printable
from phoenix.client import Phoenix
from phoenix.contract import JobKind, JobState
from phoenix.contract.steering import BulkAction, BulkResult

_SHOWN = 10
"""Jobs of the preview that are listed."""
_DONE = {BulkAction.CANCEL: "canceled", BulkAction.RETRY: "queued again", BulkAction.DELETE: "deleted"}


def bulk(  # noqa: PLR0913, PLR0917 - one parameter per option
    action: Annotated[BulkAction, typer.Argument(help="What is done to each job.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="JOB_IDS", help="These jobs, in place of a filter.")
    ] = None,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    q: Annotated[str | None, typer.Option("--query", "-q", help="Words, as for `phoenix search`.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Only jobs with all of these tags.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs that can be changed so.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what matches.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    owner: OwnerOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Cancel, retry or delete all jobs that match, after a preview and a question.

    Status 1 if a job could not be changed; each is printed with the reason. Run it again after an interruption.
    """
    given = {"state": state, "kind": kind, "model": model, "q": q, "tags": tags}
    wanted = {name: value for name, value in given.items() if value is not None}
    if sum(map(bool, (ids, wanted, everything))) != 1:
        raise typer.BadParameter("give ids, or filters, or --all.")
    body: dict[str, Any] = {"action": action.value, **({"ids": ids} if ids else {"filter": wanted})}
    with exit_on_error(), connect(url, api_key) as phoenix:
        preview = phoenix.bulk({**body, "dry_run": True}, owner=owner)
        _show_preview(preview)
        if dry_run or not preview.jobs:
            return
        if not yes:
            typer.confirm(f"{action.value.capitalize()} these jobs?", abort=True, err=True)
        changed, failed = 0, 0
        for result in _run(phoenix, body, owner):
            changed, failed = changed + result.changed, failed + len(result.failed)
            for failure in result.failed:
                err.print(f"{failure.id}: {failure.code}: {printable(failure.detail)}", style="red")
        out.print(f"{changed} jobs are {_DONE[action]}, {failed} are not.")
        if failed:
            raise typer.Exit(FAILED)


def _run(phoenix: Phoenix, body: dict[str, Any], owner: str | None) -> Generator[BulkResult]:
    cursor: str | None = None
    while True:
        result = phoenix.bulk(body if cursor is None else {**body, "cursor": cursor}, owner=owner)
        yield result
        if (cursor := result.next_cursor) is None:
            return


def _show_preview(preview: BulkResult) -> None:
    count = len(preview.jobs) if preview.total is None else preview.total
    more = " or more" if preview.has_more and preview.total is None else ""
    err.print(f"{count}{more} jobs match.")
    for job in preview.jobs[:_SHOWN]:
        err.print(f"  {job.id}  {job.state.value}  of {job.owner_id}", style="dim")
    for failure in preview.failed:
        err.print(f"  {failure.id}: {failure.code}: {printable(failure.detail)}", style="dim")
