"""`POST /v1/lipsyncs`: the queued job, its request, its replay, and faults with their pointers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures.api import Api, assert_problem, pointers
from fixtures.media_files import MediaMaker

BOX = {"x": 0, "y": 0, "width": 40, "height": 40}


@pytest.fixture
async def files(api: Api, media: MediaMaker, tmp_path: Path) -> dict[str, str]:
    """Ids of an uploaded picture and an uploaded sound."""
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(tmp_path / "face.png")
    paths = {"video": tmp_path / "face.png", "audio": media.sound("voice.wav", seconds=1)}
    return {name: (await api.upload(path)).json()["id"] for name, path in paths.items()}


async def post(api: Api, **body: Any) -> Any:
    return await api.http.post("/v1/lipsyncs", json=body)


async def test_a_lipsync_is_a_queued_job_of_one_task_on_the_gpu_queue(api: Api, files: dict[str, str]) -> None:
    response = await post(api, **files, box=BOX, title="hello")
    assert response.status_code == 202, response.text
    job = response.json()
    assert (job["kind"], job["state"], job["clips"], job["title"]) == ("lipsync", "queued", [], "hello")
    assert job["request"]["model"] == "drawn-mouth"
    assert job["request"]["duration_s"] == pytest.approx(1)
    assert (await api.show(job["id"]))["request"] == job["request"]


async def test_the_files_of_an_unfinished_lipsync_are_not_deleted(api: Api, files: dict[str, str]) -> None:
    await post(api, **files, box=BOX)
    for artifact_id in files.values():
        assert_problem(await api.http.delete(f"/v1/artifacts/{artifact_id}"), 409, "ARTIFACT_IN_USE")


async def test_every_fault_has_its_pointer(api: Api, files: dict[str, str]) -> None:
    body = {"video": files["audio"], "audio": files["video"], "model": "none"}
    problem = assert_problem(await post(api, **body), 422, "INVALID_REQUEST")
    assert sorted(pointers(problem)) == ["/audio", "/model", "/video"]
    outside = {**files, "box": BOX | {"x": 30}}
    assert pointers(assert_problem(await post(api, **outside), 422, "INVALID_REQUEST")) == ["/box"]
    assert pointers(assert_problem(await post(api, **files), 422, "INVALID_REQUEST")) == ["/box"]


async def test_the_lip_models_are_listed_with_the_models(api: Api) -> None:
    listed = (await api.http.get("/v1/models")).json()["lip_models"]
    assert [each["id"] for each in listed] == ["drawn-mouth"]
