"""`phoenix jobs …`, `phoenix search` and `phoenix artifacts …`: inspect a server, and control its jobs and files."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, JobIdArgument, JsonOption, OwnerOption, UrlOption, connect
from phoenix.cli.console import err, exit_on_error, out, print_json, require_success
from phoenix.cli.following import follow
from phoenix.cli.history.job_history import show_attempts, show_log
from phoenix.cli.options import OutputOption
from phoenix.cli.tables import artifacts_table, clips_table, job_lines, jobs_table
from phoenix.contract import ArtifactKind, JobKind, JobPage, JobState
from phoenix.private_files import users_permissions

jobs_app = typer.Typer(no_args_is_help=True, help="Inspect and control jobs.")
artifacts_app = typer.Typer(no_args_is_help=True, help="List uploads and files of jobs, and delete uploads.")

LimitOption = Annotated[int, typer.Option(min=1, max=100)]
TagsOption = Annotated[list[str] | None, typer.Option("--tag", help="Only jobs with this tag, and all others given.")]
FavoriteOption = Annotated[
    bool | None,
    typer.Option("--favorite/--no-favorite", help="Only favorites, or only the others.", show_default=False),
]
CursorOption = Annotated[str | None, typer.Option(help="Cursor that the previous page printed.")]


class PriorityName(StrEnum):
    """The priorities of `contract.Priority`, for the command line."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@jobs_app.command("list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    q: Annotated[str | None, typer.Option("--query", "-q", help="Words, as for `phoenix search`.")] = None,
    owner: OwnerOption = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """List jobs, newest first."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.list_jobs(state=state, kind=kind, model=model, q=q, owner=owner, limit=limit, cursor=cursor)
        _print_page(found, as_json=as_json, with_owner=owner is not None)


def search(  # noqa: PLR0913, PLR0917 - one parameter per option
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help='All of which a job has; "words in quotes" in order.')
    ] = None,
    tags: TagsOption = None,
    favorite: FavoriteOption = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Only jobs with this value.")
    ] = None,
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    meaning: Annotated[bool, typer.Option("--meaning", help="Also jobs that say it in other words.")] = False,
    similar: Annotated[
        str | None, typer.Option(metavar="JOB_ID", help="Jobs that are about the same as this job, in place of words.")
    ] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Find jobs by their words, or by what they are about.

    The words of titles, tags, prompts, captions, narration and metadata.
    """
    # The shell has removed the quotes of a phrase.
    text = " ".join(f'"{word}"' if " " in word.strip() and '"' not in word else word for word in words or ())
    values = _parse_metadata(metadata or ())
    if not (text.strip() or tags or values or similar or favorite is not None):
        raise typer.BadParameter("Say what to find: words, --similar, --tag, --metadata or --favorite.")
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.list_jobs(
            q=text or None,
            tags=tags or (),
            favorite=favorite,
            metadata=values,
            mode="meaning" if meaning else None,
            similar_to=similar,
            state=state,
            kind=kind,
            model=model,
            limit=limit,
            cursor=cursor,
        )
        _print_page(found, as_json=as_json)


def _parse_metadata(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if any(not (key and equals) for key, equals, _ in pairs):
        raise typer.BadParameter("Write --metadata KEY=VALUE.")
    return {key: value for key, _, value in pairs}


def _print_page(page: JobPage, *, as_json: bool, with_owner: bool = False) -> None:
    if as_json:
        print_json(page)
        return
    out.print(jobs_table(page.data, width=out.width, with_owner=with_owner) if page.data else "No jobs.")
    if page.next_cursor:
        err.print(f"More jobs: --cursor {page.next_cursor}", style="dim")


@jobs_app.command("show")
def show_job(
    job_id: JobIdArgument,
    owner: OwnerOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Show one job and its clips."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.get_job(job_id, owner=owner)
        if as_json:
            print_json(job)
            return
        for line in job_lines(job):
            out.print(line)
        if job.clips:
            out.print(clips_table(job.clips, width=out.width))


jobs_app.command("attempts")(show_attempts)
jobs_app.command("logs")(show_log)


@jobs_app.command("watch")
def watch_job(
    job_id: JobIdArgument, owner: OwnerOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Follow a job until it ends. Status 1 unless it succeeds."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        # A stream waits for minutes for a server that restarts. A server that is not there is reported at once.
        phoenix.get_job(job_id, owner=owner)
        job = follow(phoenix, job_id, out, owner=owner)
        require_success(job)
        out.print(f"{job.id} {job.state.value}")


@jobs_app.command("change")
def change_job(
    job_id: JobIdArgument,
    title: Annotated[str | None, typer.Option(help='A name for the job; "" removes it.')] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help='Replaces all tags; once for each. "" removes all.')
    ] = None,
    favorite: Annotated[bool | None, typer.Option(help="Mark the job as a favorite, or not.")] = None,
    priority: Annotated[PriorityName | None, typer.Option(help="While the job is queued.")] = None,
    queue_timeout_s: Annotated[
        float | None, typer.Option(help="Seconds that the job may wait in the queue, from its start there.")
    ] = None,
    to_front: Annotated[
        bool, typer.Option("--to-front", help="Before the jobs of all keys; for administrators.")
    ] = False,
    owner: OwnerOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Change the title and the tags of a job, or how it waits. What is left out stays as it is."""
    given = {"title": title, "favorite": favorite, "queue_timeout_s": queue_timeout_s}
    given |= {"priority": priority and priority.value, "tags": [tag for tag in tags if tag] if tags else None}
    given |= {"position": "front" if to_front else None}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise typer.BadParameter(
            "Say what to change: --title, --tag, --favorite, --priority, --queue-timeout-s or --to-front."
        )
    with exit_on_error(), connect(url, api_key) as phoenix:
        for line in job_lines(phoenix.change(job_id, changes, owner=owner)):
            out.print(line)


@jobs_app.command("manifest")
def show_manifest(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Print the manifest of a job that has succeeded, for `phoenix replay`."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        print_json(phoenix.manifest(job_id))


@jobs_app.command("cancel")
def cancel_job(
    job_id: JobIdArgument, owner: OwnerOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Cancel a job. A running job stops within about one step."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.cancel(job_id, owner=owner)
        out.print(f"{job.id} {job.state.value}{' (canceling)' if not job.state.is_terminal else ''}")


def approve(
    job_id: JobIdArgument,
    output: OutputOption = None,
    owner: OwnerOption = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Approve the draft of a held reel, and wait for the video of the reel.

    The path of the video is the last line of the output. Ctrl-C ends the command, and not the reel. With --owner, it
    ends at once: the files of other keys cannot be loaded.
    """
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.approve(job_id, owner=owner)
        err.print(f"{job.id} is approved.", style="dim")
        if owner is not None:
            return
        ended = follow(phoenix, job.id, err)
        require_success(ended)
        with users_permissions():
            print(phoenix.download(ended, output or Path(f"reel-{job.id}.mp4")))


@jobs_app.command("retry")
def retry_job(
    job_id: JobIdArgument, owner: OwnerOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Queue an unsuccessful job again. Finished clips are kept."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.retry(job_id, owner=owner)
        out.print(f"{job.id} {job.state.value}")


@jobs_app.command("download")
def download_job(
    job_id: JobIdArgument, output: OutputOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Download the video of a job. The path of the file is the last line of the output."""
    with exit_on_error(), connect(url, api_key) as phoenix, users_permissions():
        print(phoenix.download(job_id, output or Path(f"reel-{job_id}.mp4")))


@jobs_app.command("delete")
def delete_job(
    job_id: JobIdArgument, owner: OwnerOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Delete an ended job and its files."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.delete(job_id, owner=owner)
        out.print(f"{job_id} is deleted.")


class Media(StrEnum):
    """The kinds of media of `contract.MediaKind`, for the command line."""

    AUDIO = "audio"
    IMAGE = "image"
    VIDEO = "video"


@artifacts_app.command("list")
def list_artifacts(
    kind: Annotated[ArtifactKind | None, typer.Option(help="Only files of this kind.")] = None,
    media: Annotated[Media | None, typer.Option(help="Only files of this medium.")] = None,
    q: Annotated[str | None, typer.Option("--query", "-q", help="Words in the name of the uploaded file.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """List uploads and the files of jobs, newest first."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        page = phoenix.list_artifacts(kind=kind, media=media.value if media else None, q=q, limit=limit, cursor=cursor)
        if as_json:
            print_json(page)
            return
        out.print(artifacts_table(page.data, width=out.width) if page.data else "No artifacts.")
        if page.next_cursor:
            err.print(f"More artifacts: --cursor {page.next_cursor}", style="dim")


@artifacts_app.command("delete")
def delete_artifact(
    artifact_id: Annotated[str, typer.Argument(metavar="ARTIFACT_ID", help="Id of an upload: art_…")],
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Delete an upload. A file of a job is deleted with `phoenix jobs delete`."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.delete_artifact(artifact_id)
        out.print(f"{artifact_id} is deleted.")
