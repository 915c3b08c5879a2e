"""Captions through a worker: in the MP4 as asked, as files beside it, and at the times of their clips."""

from pathlib import Path
from typing import Any

import av

from fixtures.workplace import WorkerHarness, a_reel
from phoenix.contract import ArtifactKind, JobState, ResolvedReel, Transition
from phoenix.jobs.views import view_output

SRT_OF_TWO = "1\n00:00:00,000 --> 00:00:00,375\none\n\n2\n00:00:00,375 --> 00:00:00,750\ntwo\n\n"
FADE = Transition(kind="crossfade", duration_s=0.25)


def captioned(mode: str, *captions: str, **changes: Any) -> ResolvedReel:
    reel = a_reel(clips=len(captions), captions=mode, **changes)
    clips = [clip.model_copy(update={"caption": text}) for clip, text in zip(reel.clips, captions, strict=True)]
    return reel.model_copy(update={"clips": clips})


def subtitle_streams(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.name for stream in container.streams.subtitles]


async def test_captions_are_a_track_and_files_at_the_times_of_a_crossfaded_reel(
    harness: WorkerHarness, tmp_path: Path
) -> None:
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(captioned("track", "one", "two", transition=FADE)))

    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    assert subtitle_streams(await harness.download(job.output, tmp_path)) == ["mov_text"]
    files = await harness.artifacts(job.row.id, ArtifactKind.CAPTIONS)
    assert sorted(file.media_type for file in files) == ["application/x-subrip", "text/vtt"]
    srt = next(file for file in files if file.info["format"] == "srt")
    assert (await harness.download(srt, tmp_path)).read_text() == SRT_OF_TWO
    listed = {each.format: each.artifact_id for each in view_output(job.row, job.output).captions}
    assert listed == {file.info["format"]: file.id for file in files}


async def test_burned_captions_have_files_but_no_track(harness: WorkerHarness, tmp_path: Path) -> None:
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(captioned("burned", "one", "")))

    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    assert subtitle_streams(await harness.download(job.output, tmp_path)) == []
    assert len(await harness.artifacts(job.row.id, ArtifactKind.CAPTIONS)) == 2


async def test_no_captions_are_made_where_none_are_wanted(harness: WorkerHarness, tmp_path: Path) -> None:
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(captioned("off", "one")))

    assert job.output is not None
    assert subtitle_streams(await harness.download(job.output, tmp_path)) == []
    assert await harness.artifacts(job.row.id, ArtifactKind.CAPTIONS) == []
