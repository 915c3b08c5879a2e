"""Segments through a worker: what a player joins is what the reel shows."""

from pathlib import Path

import numpy as np
import pytest

from fixtures.media_files import MediaMaker, decode
from fixtures.scripted_server import ScriptedServer
from fixtures.speech import SPEECH_PATH, VOICE_HZ, loudness_of, narrated_reel, service_settings, spoken
from fixtures.talking_model import write_talking_catalog
from fixtures.workplace import OWNER, OpenHarness, WorkerHarness, a_reel
from phoenix.contract import ArtifactKind, JobState, ResolvedReel, SoundtrackRequest, Transition
from phoenix.jobs.lifecycle import TaskKind
from phoenix.jobs.playlists import begin_playlist, read_playlist
from phoenix.jobs.repository import FullJob
from phoenix.settings import EngineSettings


def is_watched_to_the_end(job: FullJob) -> bool:
    segments = [task for task in job.tasks if task.kind is TaskKind.SEGMENT]
    return job.row.state.is_terminal and all(task.state.is_terminal for task in segments)


async def watch(harness: WorkerHarness, reel: ResolvedReel, folder: Path) -> tuple[FullJob, Path, Path]:
    """The job at its end, its result, and what a player has joined of its segments."""
    job_id = await harness.submit(reel)
    async with harness.services.database.write() as uow:
        await begin_playlist(uow, job_id, owner_id=OWNER)
    job = await harness.until(job_id, is_watched_to_the_end)
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    assert job.output is not None
    async with harness.services.database.read() as session:
        playlist = await read_playlist(session, job)
    assert (len(playlist.files), playlist.is_over) == (len(reel.clips), True)
    files = [await harness.download(row, folder) for row in await harness.artifacts(job_id, ArtifactKind.SEGMENTS)]
    contents = [path.read_bytes() for path in files]
    heads = [file.header_bytes for file in playlist.files]
    joined = folder / "joined.mp4"
    joined.write_bytes(
        contents[0][: heads[0]] + b"".join(all_[head:] for all_, head in zip(contents, heads, strict=True))
    )
    return job, await harness.download(job.output, folder), joined


@pytest.mark.parametrize("transition", [Transition(kind="cut"), Transition(kind="crossfade", duration_s=0.25)])
async def test_what_is_watched_is_the_reel(harness: WorkerHarness, tmp_path: Path, transition: Transition) -> None:
    async with harness.worker():
        _, reel, joined = await watch(harness, a_reel(clips=3, frames=16, transition=transition), tmp_path)

    expected, watched = decode(reel), decode(joined)
    assert (watched.num_frames, watched.width, watched.height) == (
        expected.num_frames,
        expected.width,
        expected.height,
    )
    difference = np.abs(np.array(watched.colours) - np.array(expected.colours))
    # Both were encoded once more.
    assert (difference.mean() < 4, difference.max() < 32) == (True, True)
    assert watched.sound_s == pytest.approx(expected.num_frames / 16, abs=0.03)


async def test_the_sound_of_clips_is_heard(open_harness: OpenHarness, tmp_path: Path) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=write_talking_catalog(tmp_path)))
    shape = {"width": 64, "height": 64, "fps": 8}
    reel = a_reel(clips=2, steps=1)
    clips = [clip.model_copy(update={**shape, "num_frames": 9, "guidance_scale": 1.0}) for clip in reel.clips]
    async with harness.worker():
        _, _, joined = await watch(
            harness, reel.model_copy(update={**shape, "model": "talking", "clips": clips}), tmp_path
        )

    assert decode(joined).sound_s == pytest.approx(18 / 8, abs=0.03)


@pytest.mark.parametrize("grows", [False, True])
async def test_narration_and_music_are_heard_as_in_the_reel(
    open_harness: OpenHarness, scripted_server: ScriptedServer, media: MediaMaker, tmp_path: Path, grows: bool
) -> None:
    scripted_server.on("POST", SPEECH_PATH, spoken(3.0 if grows else 1.5))
    harness = await open_harness(tts=service_settings(scripted_server.url))
    music = await harness.upload(media.sound("music.wav", seconds=8, source="sine=220"))
    soundtrack = SoundtrackRequest(artifact_id=music)
    async with harness.worker():
        narrated = narrated_reel({1: "hello"}, soundtrack=soundtrack, fit_narration=grows, captions="off")
        _, reel, joined = await watch(harness, narrated, tmp_path)

    expected, watched = decode(reel), decode(joined)
    assert watched.num_frames == expected.num_frames == (112 if grows else 96)
    for hz in (220, VOICE_HZ):
        in_reel, in_playlist = (np.array(loudness_of(path, hz)) for path in (reel, joined))
        size = min(len(in_reel), len(in_playlist))
        assert np.corrcoef(in_reel[:size], in_playlist[:size])[0, 1] > 0.95
