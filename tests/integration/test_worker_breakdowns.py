"""Failures of a worker with a real, tiny model: the error, the next worker, and the correct clip."""

import os
from pathlib import Path

import pytest

from fixtures.renders import make_clip
from fixtures.supervision import supervised, until_live
from fixtures.workplace import OpenHarness, WorkerHarness, a_wan_reel
from phoenix.contract import ArtifactKind, JobState, ResolvedReel
from phoenix.engine.interface import RenderedClip
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind
from phoenix.media.ffmpeg import NO_CALLBACKS, MediaTools, find_ffmpeg
from phoenix.settings import EngineSettings, MediaSettings, WorkerSettings
from phoenix.worker.render import write_frames
from phoenix.worker.supervisor import ProcessSpec

BREAKS_THE_DEVICE = """
import os, sys
from importlib.machinery import PathFinder
from pathlib import Path

MODEL = "diffusers.models.transformers.transformer_wan"
is_broken, once = False, Path(os.environ["BREAK_ONCE"])


class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == MODEL else None
        if spec is not None:
            spec.loader.exec_module = lambda module, load=spec.loader.exec_module: (load(module), sabotage(module))
        return spec


def sabotage(module):
    import torch

    plain = module.WanTransformer3DModel.forward

    def forward(self, *arguments, **named):
        global is_broken
        if not once.exists():
            once.touch()
            is_broken = True
        if is_broken:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\\nCUDA kernel errors …")
        return plain(self, *arguments, **named)

    module.WanTransformer3DModel.forward = forward


sys.meta_path.insert(0, Finder)
"""
"""As `sitecustomize`, in the child: every pass of the model fails from the first on, until there is another process."""

ENDS = {
    "short of memory": ("ulimit -v 200000", FailureCode.MEDIA_LIMIT),
    "killed": ("kill -9 $$", FailureCode.ENGINE_FAILED),
}
"""What the first ffmpeg does before it starts, and the code of the attempt's error."""


async def clip_digests(harness: WorkerHarness, reel: ResolvedReel) -> tuple[str, dict[str, str]]:
    """Runs a reel to its end. Returns its id, and the checksum of each clip by its task."""
    job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    sums = {clip.id: clip.sha256 for clip in await harness.artifacts(job.row.id, ArtifactKind.CLIP)}
    rendered = [task for task in job.tasks if task.kind is TaskKind.RENDER]
    return job.row.id, {task.id: sums[task.artifact_id or ""] for task in rendered}


async def test_an_error_that_breaks_the_device_ends_the_process_and_a_clean_one_makes_the_clips(
    open_harness: OpenHarness, tiny_wan_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(BREAKS_THE_DEVICE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hook), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("BREAK_ONCE", str(tmp_path / "broken"))
    harness = await open_harness(engine=EngineSettings(catalog_file=tiny_wan_catalog))
    async with supervised(harness, ProcessSpec("all", "cpu")):
        await until_live(harness, 1)
        job_id, broken = await clip_digests(harness, a_wan_reel(clips=2))
        _, whole = await clip_digests(harness, a_wan_reel(clips=2))
    assert list(broken.values()) == list(whole.values())
    attempts = [await harness.attempts(task_id) for task_id in broken]
    failed = [attempt for tries in attempts for attempt in tries if attempt.outcome is AttemptEndState.FAILED]
    assert [attempt.error["code"] for attempt in failed if attempt.error] == [FailureCode.ENGINE_FAILED]
    assert {tries[-1].worker_id for tries in attempts}.isdisjoint({failed[0].worker_id})
    assert [task.crashes for task in (await harness.job(job_id)).tasks] == [0, 0, 0]


@pytest.mark.parametrize("how", ENDS)
async def test_an_encoder_that_runs_out_of_memory_is_reported_and_the_next_attempt_and_clip_are_right(
    open_harness: OpenHarness, tiny_wan_catalog: Path, tmp_path: Path, how: str
) -> None:
    ffmpeg = tmp_path / "ffmpeg"
    end, code = ENDS[how]
    ends = f'case "$*" in *self-test*) ;; *) if mkdir {tmp_path}/once 2>/dev/null; then {end}; fi; esac'
    ffmpeg.write_text(f'#!/bin/sh\n{ends}\nexec {find_ffmpeg()} "$@"\n')
    ffmpeg.chmod(0o755)
    harness = await open_harness(
        engine=EngineSettings(catalog_file=tiny_wan_catalog), media=MediaSettings(ffmpeg=str(ffmpeg))
    )
    async with harness.worker():
        _, short = await clip_digests(harness, a_wan_reel(clips=1))
        _, whole = await clip_digests(harness, a_wan_reel(clips=1))
    assert list(short.values()) == list(whole.values())
    (task_id,) = short
    first, second = await harness.attempts(task_id)
    assert (first.outcome, second.outcome) == (AttemptEndState.FAILED, AttemptEndState.SUCCEEDED)
    assert first.error is not None
    assert (first.error["code"], first.error["stage"]) == (code, Stage.ENCODE)


def test_a_worker_without_memory_for_the_next_frame_says_so_and_can_encode_the_next_clip(tmp_path: Path) -> None:
    def frames(*, is_short: bool):
        for number in range(9):
            if is_short and number == 5:
                raise MemoryError
            yield bytes(64 * 64 * 3)

    def encode(*, is_short: bool) -> None:
        rendered = RenderedClip(frames(is_short=is_short), width=64, height=64, fps=8, num_frames=9)
        clip = make_clip(width=64, height=64, num_frames=9)
        write_frames(clip, rendered, tmp_path / "clip.mp4", tools=MediaTools(find_ffmpeg()), callbacks=NO_CALLBACKS)

    with pytest.raises(TaskFailed, match="out of memory") as failed:
        encode(is_short=True)
    assert (failed.value.code, failed.value.stage, failed.value.retriable) == (
        FailureCode.ENGINE_FAILED,
        Stage.ENCODE,
        True,
    )
    encode(is_short=False)
    assert (tmp_path / "clip.mp4").stat().st_size > 0


async def test_a_process_past_its_memory_limit_is_replaced_between_tasks(open_harness: OpenHarness) -> None:
    harness = await open_harness(worker=WorkerSettings(recycle_rss_bytes=1, restart_delay_s=60))
    async with supervised(harness, ProcessSpec("all", "cpu")):
        job_id, clips = await clip_digests(harness, a_wan_reel(clips=2).model_copy(update={"model": "animatic"}))
    attempts = [await harness.attempts(task.id) for task in (await harness.job(job_id)).tasks]
    assert [[attempt.outcome for attempt in tries] for tries in attempts] == [[AttemptEndState.SUCCEEDED]] * 3
    assert len({tries[0].worker_id for tries in attempts}) > 1
    assert len(clips) == 2
