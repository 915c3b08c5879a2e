"""What `phoenix replay` says of two manifests, and of a file that is none."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from builders import make_reel
from phoenix.cli.provenance.replay import differences, read_manifest
from phoenix.contract import ClipManifest, InputManifest, JobManifest, OutputManifest, ReplayRequest

AT = datetime(2026, 1, 2, tzinfo=UTC)


def a_clip(**changes: Any) -> ClipManifest:
    values = {"artifact_id": "art_1", "sha256": "1", "size_bytes": 1, "index": 0, "seed": 7, "content_key": "k"}
    return ClipManifest.model_validate({**values, "reused": False, "made_with": {"torch": "2.13"}, **changes})


def a_manifest(*clips: ClipManifest, **changes: Any) -> JobManifest:
    return JobManifest(
        job_id="job_1",
        kind="reel",
        created_at=AT,
        finished_at=AT,
        request=make_reel(),
        replay=ReplayRequest(path="/v1/reels", body={}),
        inputs=[],
        clips=list(clips),
        output=OutputManifest(artifact_id="art_2", sha256="2", size_bytes=1, made_with={"ffmpeg": "9.0"}),
    ).model_copy(update=changes)


def test_a_changed_version_is_named() -> None:
    new = a_clip(sha256="3", made_with={"torch": "2.14"})

    assert next(iter(differences(a_manifest(a_clip()), a_manifest(new)))) == "clip 1: torch 2.13 became 2.14"


def test_a_clip_that_is_the_same_is_named_too() -> None:
    lines = list(differences(a_manifest(a_clip()), a_manifest(a_clip())))

    assert lines == ["clip 1: the same bytes", "result: the same versions"]


def test_a_difference_that_no_version_explains_is_said_so() -> None:
    lines = list(differences(a_manifest(a_clip()), a_manifest(a_clip(sha256="3"))))

    assert lines[0] == "clip 1: other bytes with the same versions"


def test_a_package_that_was_not_recorded_is_not_known() -> None:
    new = a_clip(sha256="3", made_with={"torch": "2.13", "ffmpeg": "9.0"})

    assert next(iter(differences(a_manifest(a_clip()), a_manifest(new)))) == "clip 1: ffmpeg not known became 9.0"


def test_a_changed_entry_is_named_with_its_fields() -> None:
    reel = make_reel()
    assert reel.entry is not None
    entry = reel.entry.model_copy(update={"fingerprint": "f", "fields": {**reel.entry.fields, "revision": "new"}})
    after = a_manifest(request=reel.model_copy(update={"entry": entry}))

    assert next(differences(a_manifest(), after)) == "the entry of animatic: revision"


def test_another_input_is_named() -> None:
    def with_input(sha256: str) -> JobManifest:
        file = InputManifest(artifact_id="art_3", sha256=sha256, size_bytes=1, pointer="/soundtrack/artifact_id")
        return a_manifest(inputs=[file])

    assert next(differences(with_input("1"), with_input("2"))) == "input /soundtrack/artifact_id: another file"


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"version": 1}'])
def test_a_file_that_is_no_manifest_ends_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)

    with pytest.raises(typer.Exit) as ended:
        read_manifest(path)

    assert ended.value.exit_code == 2
    assert "is no manifest of a job" in capsys.readouterr().err


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(a_manifest(a_clip()).model_dump_json())

    assert read_manifest(path) == a_manifest(a_clip())
