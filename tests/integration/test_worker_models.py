"""A worker with a real, tiny model: it warms up before it takes tasks, and batches clips if configured."""

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from fixtures.workplace import TIMEOUT_S, OpenHarness, WorkerHarness, a_reel, a_wan_reel
from phoenix.contract import Clip, JobState, ResolvedReel
from phoenix.jobs.scheduling.worker_orders import unload_model
from phoenix.jobs.scheduling.workers import list_live, view_workers
from phoenix.jobs.tables import WorkerRow
from phoenix.jobs.views import view_job
from phoenix.settings import EngineSettings
from phoenix.worker.child_process import ExitStatus


@pytest.fixture
def engine(tiny_wan_catalog: Path) -> EngineSettings:
    return EngineSettings(catalog_file=tiny_wan_catalog, max_batch_size=3, batch_window_s=5, warm_models=("tiny-wan",))


async def test_a_worker_reports_only_after_its_models_are_in_memory(
    open_harness: OpenHarness, engine: EngineSettings
) -> None:
    harness = await open_harness(engine=engine)
    async with harness.worker("gpu"), asyncio.timeout(100):
        live = []
        while not live:
            async with harness.services.database.read() as session:
                live = await list_live(session)
            await asyncio.sleep(0.02)
    assert "tiny-wan" in live[0].models


def transformers_in_memory() -> int:
    """How many models are in the memory of this process."""
    gc.collect()
    return sum(isinstance(each, WanTransformer3DModel) for each in gc.get_objects())


async def test_an_unloaded_model_leaves_the_memory_and_is_loaded_again_for_a_later_clip(
    open_harness: OpenHarness, tiny_wan_catalog: Path
) -> None:
    before = transformers_in_memory()
    harness = await open_harness(engine=EngineSettings(catalog_file=tiny_wan_catalog))
    async with harness.worker():
        first = await harness.until_ended(await harness.submit(a_wan_reel(clips=1)))
        loaded = transformers_in_memory() - before
        async with harness.services.database.write() as uow:
            holders = await unload_model(uow, "tiny-wan")
        async with asyncio.timeout(TIMEOUT_S):
            while "tiny-wan" in (await list_workers(harness))[0].models:  # noqa: ASYNC110 - a row cannot be awaited
                await asyncio.sleep(0.05)
        left = transformers_in_memory() - before
        (worker,) = await list_workers(harness)
        second = await harness.until_ended(await harness.submit(a_wan_reel(clips=1)))

    assert (list(holders), worker.unload) == ([worker.id], [])
    assert (loaded > 0, left) == (True, 0)
    assert [job.row.state for job in (first, second)] == [JobState.SUCCEEDED] * 2


async def list_workers(harness: WorkerHarness) -> Sequence[WorkerRow]:
    async with harness.services.database.read() as session:
        return await list_live(session)


async def test_a_model_that_breaks_the_device_in_its_warm_up_ends_the_process(
    open_harness: OpenHarness, tiny_wan_catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(WanTransformer3DModel, "forward", break_down)
    harness = await open_harness(engine=EngineSettings(catalog_file=tiny_wan_catalog, warm_models=("tiny-wan",)))
    async with harness.worker("gpu") as shutdown, asyncio.timeout(TIMEOUT_S):
        await shutdown.draining.wait()
    async with harness.services.database.read() as session:
        (worker,) = await view_workers(session)
    assert (shutdown.exit, worker.state, worker.fault) == (ExitStatus.UNFIT, "unfit", shutdown.fault)


async def test_a_clip_waits_for_a_worker_that_has_its_model(
    open_harness: OpenHarness, tiny_wan_catalog: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.toml").write_text("models = []")
    harness = await open_harness(engine=EngineSettings(catalog_file=tiny_wan_catalog))
    elsewhere = harness.settings.model_copy(update={"engine": EngineSettings(catalog_file=tmp_path / "empty.toml")})
    async with harness.worker(settings=elsewhere):
        waiting_id = await harness.submit(a_wan_reel(clips=1))
        other = await harness.until_ended(await harness.submit(a_reel()))
        waiting = await harness.job(waiting_id)
    assert (other.row.state, waiting.row.state, waiting.tasks[0].attempt) == (JobState.SUCCEEDED, JobState.QUEUED, 0)
    async with harness.worker():
        assert (await harness.until_ended(waiting_id)).row.state is JobState.SUCCEEDED


async def clips_of(open_harness: OpenHarness, engine: EngineSettings, reel: ResolvedReel) -> list[Clip]:
    harness = await open_harness(engine=engine)
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    return view_job(job.row, job.tasks, job.output).clips


async def test_clips_of_a_reel_share_a_call_and_their_records_say_so(
    open_harness: OpenHarness, engine: EngineSettings
) -> None:
    clips = await clips_of(open_harness, engine, a_wan_reel(clips=3))
    assert [clip.batch_size for clip in clips] == [3, 3, 3]
    assert all(clip.timings.denoise_s is not None for clip in clips)


async def test_a_clip_whose_prompt_was_cut_says_so_in_the_job(
    open_harness: OpenHarness, engine: EngineSettings
) -> None:
    reel = a_wan_reel(clips=3)
    prompts = ("a cat", "cat " * 40, "a cat")
    clips = [clip.model_copy(update={"prompt": prompt}) for clip, prompt in zip(reel.clips, prompts, strict=True)]
    first, second, third = await clips_of(open_harness, engine, reel.model_copy(update={"clips": clips}))
    assert [(warning.code, warning.encoder, warning.tokens, warning.limit) for warning in second.warnings] == [
        ("PROMPT_CUT", "text_encoder", 41, 32)
    ]
    assert (first.warnings, third.warnings) == ([], [])


async def test_deterministic_clips_are_rendered_alone(open_harness: OpenHarness, engine: EngineSettings) -> None:
    clips = await clips_of(open_harness, engine, a_wan_reel(clips=2, deterministic=True))
    assert [clip.batch_size for clip in clips] == [1, 1]
