"""`phoenix jobs …` and `phoenix models`: inspect a server, and control its jobs."""

from pathlib import Path
from typing import Annotated

import typer

from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import err, exit_on_error, out, print_json, require_success
from phoenix.cli.following import follow
from phoenix.cli.options import OutputOption
from phoenix.cli.tables import clips_table, job_lines, jobs_table, models_table
from phoenix.contract import JobKind, JobState
from phoenix.private_files import users_permissions

jobs_app = typer.Typer(no_args_is_help=True, help="Inspect and control jobs.")

JobIdArgument = Annotated[str, typer.Argument(metavar="JOB_ID", help="Id of the job, as printed on submission: job_…")]


@jobs_app.command("list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    q: Annotated[str | None, typer.Option("--query", "-q", help="Words that the prompts contain.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Cursor that the previous page printed.")] = None,
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
        out.print(jobs_table(page.data) if page.data else "No jobs.")
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
            out.print(clips_table(job.clips))


@jobs_app.command("watch")
def watch_job(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Follow a job until it ends. Status 1 unless it succeeds."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = follow(phoenix, job_id, out)
        require_success(job)
        out.print(f"{job.id} {job.state.value}")


@jobs_app.command("cancel")
def cancel_job(job_id: JobIdArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Cancel a job. A running job stops within about one step."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.cancel(job_id)
        out.print(f"{job.id} {job.state.value}{' (canceling)' if not job.state.is_terminal else ''}")


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


def list_models(as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """List the models with their limits and defaults, and whether a worker serves them now."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        models = phoenix.models()
        if as_json:
            print_json(models)
        else:
            out.print(models_table(models))
