"""A worker with a real, tiny model: warmed up before it reports ready, and its clips made in one call where told to."""

import asyncio
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from fixtures.workplace import PATIENCE_S, OpenWorkplace, a_reel, a_wan_reel
from phoenix.contract.jobs import Clip, JobState
from phoenix.contract.resolved import ResolvedReel
from phoenix.jobs.scheduling.workers import list_live
from phoenix.jobs.views import view_job
from phoenix.settings import EngineSettings
from phoenix.worker.child_process import Exit


@pytest.fixture
def engine(tiny_wan_catalog: Path) -> EngineSettings:
    return EngineSettings(
        catalog_file=tiny_wan_catalog, max_batch=3, batch_window_s=5, warm_models=("no-such-model", "tiny-wan")
    )


async def test_a_worker_reports_only_after_its_models_are_in_memory(
    open_place: OpenWorkplace, engine: EngineSettings
) -> None:
    workplace = await open_place(engine=engine)
    async with workplace.worker("gpu"), asyncio.timeout(100):
        live = []
        while not live:
            async with workplace.services.database.read() as session:
                live = await list_live(session, worker_timeout_s=10)
            await asyncio.sleep(0.02)
    assert "tiny-wan" in live[0].models


async def test_a_model_that_breaks_the_device_in_its_warm_up_ends_the_process(
    open_place: OpenWorkplace, tiny_wan_catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(WanTransformer3DModel, "forward", break_down)
    workplace = await open_place(engine=EngineSettings(catalog_file=tiny_wan_catalog, warm_models=("tiny-wan",)))
    async with workplace.worker("gpu") as drain, asyncio.timeout(PATIENCE_S):
        await drain.asked.wait()
    assert drain.exit is Exit.UNFIT


async def test_a_clip_waits_for_a_worker_that_has_its_model(
    open_place: OpenWorkplace, tiny_wan_catalog: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.toml").write_text("models = []")
    workplace = await open_place(engine=EngineSettings(catalog_file=tiny_wan_catalog))
    elsewhere = workplace.settings.model_copy(update={"engine": EngineSettings(catalog_file=tmp_path / "empty.toml")})
    async with workplace.worker(settings=elsewhere):
        waiting_id = await workplace.submit(a_wan_reel(clips=1))
        other = await workplace.until_ended(await workplace.submit(a_reel()))
        waiting = await workplace.job(waiting_id)
    assert (other.row.state, waiting.row.state, waiting.tasks[0].attempt) == (JobState.SUCCEEDED, JobState.QUEUED, 0)
    async with workplace.worker():
        assert (await workplace.until_ended(waiting_id)).row.state is JobState.SUCCEEDED


async def clips_of(open_place: OpenWorkplace, engine: EngineSettings, reel: ResolvedReel) -> list[Clip]:
    workplace = await open_place(engine=engine)
    async with workplace.worker():
        job = await workplace.until_ended(await workplace.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    return view_job(job.row, job.tasks, job.output).clips


async def test_clips_of_a_reel_share_a_call_and_their_records_say_so(
    open_place: OpenWorkplace, engine: EngineSettings
) -> None:
    clips = await clips_of(open_place, engine, a_wan_reel(clips=3))
    assert [clip.batch_size for clip in clips] == [3, 3, 3]
    assert all(clip.timings.denoise_s is not None for clip in clips)


async def test_deterministic_clips_are_rendered_alone(open_place: OpenWorkplace, engine: EngineSettings) -> None:
    clips = await clips_of(open_place, engine, a_wan_reel(clips=2, deterministic=True))
    assert [clip.batch_size for clip in clips] == [1, 1]
