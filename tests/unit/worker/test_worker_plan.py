"""How many tasks a worker process may have at a time, in their main part and past it."""

import pytest

from phoenix.settings import EngineSettings, Settings, WorkerSettings
from phoenix.worker.main import WorkerPlan

GPU = WorkerPlan(("gpu",))


def settings_of(tmp_path_factory: pytest.TempPathFactory, **worker: int) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        worker=WorkerSettings.model_validate(worker),
        engine=EngineSettings(max_batch_size=4),
    )


def test_every_clip_of_a_batch_may_be_encoded_while_the_next_batch_renders(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = settings_of(tmp_path_factory, max_concurrent_generations=1)

    assert (GPU.slots("gpu", settings), GPU.overlap("gpu", settings)) == (4, 4)


def test_each_slot_has_a_pipeline_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = settings_of(tmp_path_factory, max_concurrent_generations=2, pipeline_depth=3)

    assert GPU.overlap("gpu", settings) == 3 * GPU.slots("gpu", settings) == 24


def test_without_a_pipeline_a_slot_waits_for_the_encoder(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = settings_of(tmp_path_factory, pipeline_depth=0)

    assert GPU.overlap("gpu", settings) == 0


def test_media_tasks_have_no_part_after_the_main_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert WorkerPlan(("media",)).overlap("media", settings_of(tmp_path_factory)) == 0
