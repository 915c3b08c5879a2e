"""`phoenix replay`: makes the result of a manifest again, and says whether it is the same, or what differs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from phoenix.cli.connecting import ApiKeyOption, UrlOption, connect
from phoenix.cli.console import FAILED, USAGE, clip_number, err, exit_on_error, out, printable, require_success
from phoenix.cli.following import follow
from phoenix.contract import JobManifest, ResolvedReel

ManifestArgument = Annotated[
    Path,
    typer.Argument(metavar="MANIFEST", exists=True, dir_okay=False, help="File that `phoenix jobs manifest` wrote."),
]


def replay(manifest: ManifestArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Make the result of a manifest again. Status 1 if its bytes differ, with what differs.

    The server needs the same files of the request. No clip is reused.
    """
    before = read_manifest(manifest)
    with exit_on_error(), connect(url, api_key) as phoenix:
        job = phoenix.submit_replay(before.replay)
        err.print(f"{job.id}, a replay of {before.job_id}", style="dim")
        require_success(follow(phoenix, job.id, err))
        after = phoenix.manifest(job.id)
    if after.output.sha256 == before.output.sha256:
        out.print(f"The same bytes: SHA-256 {after.output.sha256}.")
        return
    out.print("The bytes differ.", style="yellow")
    for line in differences(before, after):
        out.print(f"  {printable(line)}")
    raise typer.Exit(FAILED)


def read_manifest(path: Path) -> JobManifest:
    """Ends the command with a message for a file that is no manifest."""
    try:
        return JobManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = "/".join(map(str, fault["loc"]))
        err.print(printable(f"{path} is no manifest of a job: {where}: {fault['msg']}"), style="red")
        raise typer.Exit(USAGE) from error


def differences(before: JobManifest, after: JobManifest) -> Iterator[str]:
    """What may explain that two results differ: entries, inputs, versions; then which clips differ. Pure."""
    yield from _of_entries(before, after)
    hashes = {each.pointer: each.sha256 for each in after.inputs}
    for each in before.inputs:
        if hashes.get(each.pointer) != each.sha256:
            yield f"input {each.pointer}: another file"
    for old, new in zip(before.clips, after.clips, strict=False):
        name = f"clip {clip_number(old.index)}"
        if old.sha256 == new.sha256:
            yield f"{name}: the same bytes"
            continue
        found = [*_of_versions(old.made_with, new.made_with)]
        if old.content_key != new.content_key:
            found.append("another content key")
        yield f"{name}: {', '.join(found) or 'other bytes with the same versions'}"
    found = [*_of_versions(before.output.made_with, after.output.made_with)]
    yield f"result: {', '.join(found) or 'the same versions'}"


def _of_entries(before: JobManifest, after: JobManifest) -> Iterator[str]:
    if not isinstance(before.request, ResolvedReel) or not isinstance(after.request, ResolvedReel):
        return
    old, new = before.request.entry, after.request.entry
    if old is None or new is None or old.fingerprint == new.fingerprint:
        return
    names = sorted({*old.fields, *new.fields})
    changed = [name for name in names if old.fields.get(name) != new.fields.get(name)]
    yield f"the entry of {before.request.model}: {', '.join(changed) or 'its fingerprint'}"


def _of_versions(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for package in sorted({*old, *new}):
        if old.get(package) != new.get(package):
            yield f"{package} {old.get(package, 'not known')} became {new.get(package, 'not known')}"
