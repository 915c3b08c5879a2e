"""What a remix keeps of a reel with more than a prompt: its conditions, its tier, its adapters, what it extends."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.api import Api, open_api
from phoenix.settings import EngineSettings, Settings
from phoenix.storage.keys import OutputName

ADAPTERS = """
[[models]]
id = "wan-2.1-t2v-1.3b"
tiers.draft = { steps = 4, adapters = [{ id = "fast" }] }

[[adapters]]
id = "fast"
title = "Fast"
source = "/loras/fast"
files = [{ weight_name = "fast.safetensors" }]
models = ["wan-2.1-t2v-1.3b"]

[[adapters]]
id = "film"
title = "Film"
source = "/loras/film"
files = [{ weight_name = "film.safetensors" }]
models = ["wan-2.1-t2v-1.3b"]
"""


@pytest.fixture
async def api_with_adapters(api_settings: Settings, tmp_path: Path) -> AsyncIterator[Api]:
    file = tmp_path / "catalog.toml"
    file.write_text(ADAPTERS)
    engine = EngineSettings(catalog_file=file)
    async with open_api(api_settings.model_copy(update={"engine": engine}), leads=False) as api:
        yield api


@pytest.fixture
def picture_bytes(png_file: Path) -> bytes:
    return png_file.read_bytes()


async def finished_reel(api: Api, **body: Any) -> dict[str, Any]:
    response = await api.http.post("/v1/reels", json=body)
    assert response.status_code == 202, response.text
    await api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await api.finish_next("media", OutputName.OUTPUT, b"the reel")
    return response.json()


async def remix(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    """The request of the remix, with the prompt and the adjustments of the original: its size is asked for by name."""
    video_id = "video_" + job["id"].removeprefix("job_")
    response = await api.http.post(f"/v1/videos/{video_id}/remix", json={"prompt": "another"})
    assert response.status_code == 200, response.text
    request = (await api.show("job_" + response.json()["id"].removeprefix("video_")))["request"]
    assert request["clips"][0]["prompt"] == "another"
    request["clips"][0]["prompt"] = job["request"]["clips"][0]["prompt"]
    return request | {"adjustments": job["request"]["adjustments"]}


async def test_a_remix_keeps_the_first_frame_and_the_tier(api: Api, picture_bytes: bytes) -> None:
    uploaded = await api.http.post("/v1/uploads", files={"file": ("p.png", picture_bytes)})
    picture = uploaded.json()["id"]
    condition = {"role": "first_frame", "source": {"artifact_id": picture}}
    job = await finished_reel(api, quality="draft", clips=[{"prompt": "a", "conditions": [condition]}])

    assert await remix(api, job) == job["request"]


@pytest.mark.parametrize("loras", [None, [{"id": "film", "scale": 0.5}], [{"id": "fast", "scale": 0}]])
async def test_a_remix_has_the_adapters_of_the_original_and_no_others(
    api_with_adapters: Api, loras: list[dict[str, Any]] | None
) -> None:
    body: dict[str, Any] = {"model": "wan-2.1-t2v-1.3b", "quality": "draft", "clips": [{"prompt": "a"}]}
    job = await finished_reel(api_with_adapters, **body | ({} if loras is None else {"loras": loras}))

    assert await remix(api_with_adapters, job) == job["request"]


async def test_a_remix_extends_the_same_clip(api: Api) -> None:
    before = await finished_reel(api, clips=[{"prompt": "before"}])
    extended = {"job_id": before["id"], "clip_index": 0}
    # The size of the file that `finish_next` records.
    job = await finished_reel(api, extends=extended, aspect_ratio="9:16", clips=[{"prompt": "a"}])

    assert await remix(api, job) == job["request"]


async def test_a_remix_keeps_the_upscaler_and_the_interpolator(api_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text('[[upscalers]]\nid = "x4"\ntitle = "Four"\nsource = "/models/x4.onnx"\nfactor = 4\n')
    engine = EngineSettings(catalog_file=file)
    async with open_api(api_settings.model_copy(update={"engine": engine}), leads=False) as api:
        upscale = {"id": "x4", "scale": 1.5}
        job = await finished_reel(api, clips=[{"prompt": "a"}], fps=30, upscale=upscale, interpolate="motion")
        assert job["request"]["postprocessors"]["x4"]["fields"]["source"] == "x4.onnx"
        assert await remix(api, job) == job["request"]


async def test_the_list_of_models_has_the_upscalers_and_interpolators(api_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(
        '[[upscalers]]\nid = "x4"\ntitle = "Four"\nsource = "/models/x4.onnx"\nfactor = 4\n'
        '[[interpolators]]\nid = "mid"\ntitle = "Mid"\nsource = "/models/mid.onnx"\nany_time = false\n'
    )
    engine = EngineSettings(catalog_file=file)
    async with open_api(api_settings.model_copy(update={"engine": engine}), leads=False) as api:
        listed = (await api.http.get("/v1/models")).json()
    assert [(each["id"], each["factor"]) for each in listed["upscalers"]] == [("x4", 4)]
    assert [(each["id"], each["factors"]) for each in listed["interpolators"]] == [("motion", None), ("mid", [2, 4, 8])]
    assert "/models" not in str(listed["upscalers"] + listed["interpolators"])
