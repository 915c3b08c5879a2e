"""`phoenix jobs …` and `phoenix artifacts …`: inspect a server, and control its jobs and files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, JobIdArgument, JsonOption, UrlOption, connect
from phoenix.cli.console import err, exit_on_error, out, print_json, require_success
from phoenix.cli.following import follow
from phoenix.cli.options import OutputOption
from phoenix.cli.tables import artifacts_table, clips_table, job_lines, jobs_table
from phoenix.contract import ArtifactKind, JobKind, JobState
from phoenix.private_files import users_permissions

jobs_app = typer.Typer(no_args_is_help=True, help="Inspect and control jobs.")
artifacts_app = typer.Typer(no_args_is_help=True, help="List uploads and files of jobs, and delete uploads.")

LimitOption = Annotated[int, typer.Option(min=1, max=100)]
CursorOption = Annotated[str | None, typer.Option(help="Cursor that the previous page printed.")]


@jobs_app.command("list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    q: Annotated[str | None, typer.Option("--query", "-q", help="Words that the prompts contain.")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """List jobs, newest first."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        page = phoenix.list_jobs(state=state, kind=kind, model=model, q=q, limit=limit, cursor=cursor)
        if as_json:
            print_json(page)
            return
        out.print(jobs_table(page.data, width=out.width) if page.data else "No jobs.")
        if page.next_cursor:
            err.print(f"More jobs: --cursor {page.next_cursor}", style="dim")


@jobs_app.command("show")
def show_job(
    job_id: JobIdArgument, as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Show one job and its clips."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.get_job(job_id)
        if as_json:
            print_json(job)
            return
        for line in job_lines(job):
            out.print(line)
        if job.clips:
            out.print(clips_table(job.clips, width=out.width))


@jobs_app.command("watch")
def watch_job(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Follow a job until it ends. Status 1 unless it succeeds."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        # A stream waits for minutes for a server that restarts. A server that is not there is reported at once.
        phoenix.get_job(job_id)
        job = follow(phoenix, job_id, out)
        require_success(job)
        out.print(f"{job.id} {job.state.value}")


@jobs_app.command("manifest")
def show_manifest(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Print the manifest of a job that has succeeded, for `phoenix replay`."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        print_json(phoenix.manifest(job_id))


@jobs_app.command("cancel")
def cancel_job(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Cancel a job. A running job stops within about one step."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.cancel(job_id)
        out.print(f"{job.id} {job.state.value}{' (canceling)' if not job.state.is_terminal else ''}")


def approve(
    job_id: JobIdArgument, output: OutputOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Approve the draft of a held reel, and wait for the video of the reel.

    The path of the video is the last line of the output. Ctrl-C ends the command, and not the reel.
    """
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.approve(job_id)
        err.print(f"{job.id} is approved.", style="dim")
        ended = follow(phoenix, job.id, err)
        require_success(ended)
        with users_permissions():
            print(phoenix.download(ended, output or Path(f"reel-{job.id}.mp4")))


@jobs_app.command("retry")
def retry_job(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Queue an unsuccessful job again. Finished clips are kept."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.retry(job_id)
        out.print(f"{job.id} {job.state.value}")


@jobs_app.command("download")
def download_job(
    job_id: JobIdArgument, output: OutputOption = None, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """Download the video of a job. The path of the file is the last line of the output."""
    with exit_on_error(), connect(url, api_key) as phoenix, users_permissions():
        print(phoenix.download(job_id, output or Path(f"reel-{job_id}.mp4")))


@jobs_app.command("delete")
def delete_job(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Delete an ended job and its files."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.delete(job_id)
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
