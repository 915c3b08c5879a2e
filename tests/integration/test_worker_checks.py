"""A worker whose clips come out black: an upscaler makes each frame black."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from fixtures.tiny_onnx import PICTURE, write_model
from fixtures.workplace import OpenHarness, WorkerHarness, a_reel
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.clip_postprocessing import store_postprocessors
from phoenix.contract import Clip, JobState, ResolvedReel, ResolvedUpscale
from phoenix.jobs.views import view_job
from phoenix.settings import EngineSettings

CATALOG = """
[[upscalers]]
id = "dark"
title = "Dark"
source = "{source}"
factor = 2
"""


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Mul", ["input", "zero"], ["black"]),
        helper.make_node("Resize", ["black", "", "scales"], ["output"], mode="nearest"),
    ]
    constants = {"zero": np.float32(0), "scales": np.array([1, 1, 2, 2], np.float32)}
    source = write_model(tmp_path / "dark.onnx", nodes, {"input": PICTURE}, constants=constants)
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG.format(source=source.as_posix()))
    return file


def black_reel(catalog_file: Path, on_failed_check: str) -> ResolvedReel:
    reel = a_reel(on_failed_check=on_failed_check)
    upscale = ResolvedUpscale(id="dark", scale=2, width=128, height=96)
    clips = [clip.model_copy(update={"upscale": upscale}) for clip in reel.clips]
    stored = store_postprocessors(clips, load_catalog(catalog_file))
    return reel.model_copy(update={"width": 128, "height": 96, "clips": clips, "postprocessors": stored})


async def rendered(harness: WorkerHarness, reel: ResolvedReel) -> Clip:
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(reel))
    assert job.row.state is JobState.SUCCEEDED, job.row.error
    return view_job(job.row, job.tasks, job.output).clips[0]


async def test_a_black_clip_is_reported(open_harness: OpenHarness, catalog_file: Path) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))

    clip = await rendered(harness, black_reel(catalog_file, "report"))

    assert ([check.code for check in clip.checks], clip.attempt, clip.seed) == (["BLACK"], 1, 0)


async def test_a_black_clip_is_rendered_again_if_asked(open_harness: OpenHarness, catalog_file: Path) -> None:
    harness = await open_harness(engine=EngineSettings(catalog_file=catalog_file))

    clip = await rendered(harness, black_reel(catalog_file, "reroll"))

    assert ([check.code for check in clip.checks], clip.attempt) == (["BLACK"], 2)
    assert (clip.rerolled_from, clip.seed) == (0, 1)


async def test_an_animatic_fails_no_check(open_harness: OpenHarness) -> None:
    harness = await open_harness()

    assert (await rendered(harness, a_reel())).checks == []
