"""The main job on a fleet: PostgreSQL, a Redis server, two replicas and several workers as processes of their own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types import Video

from faults.cluster import Cluster, run_cluster
from fixtures.media_files import MediaMaker, decode
from fixtures.tiny_pipelines import TinyPipelines, tiny_catalog_toml
from phoenix.client import Phoenix
from phoenix.contract import JobState, ReelRequest

LOUDNESS_LUFS = -16.0


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, tiny_pipelines: TinyPipelines) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("fleet")
    catalog = folder / "catalog.toml"
    catalog.write_text(tiny_catalog_toml({kind: tiny_pipelines(kind) for kind in ("wan", "wan_v2v")}))
    models = {"PHOENIX_ENGINE__CATALOG_FILE": str(catalog)}
    with run_cluster(folder) as cluster:
        for _ in range(2):
            cluster.add_api(**models)
        for queue in ("gpu", "gpu", "media"):
            cluster.add_worker(queue, **models)
        cluster.wait_until_ready()
        yield cluster


def make(fleet: Cluster, request: ReelRequest, sound: Path | None, output: Path) -> list[str]:
    """Submits to the first replica, follows and downloads from the second. Returns the types of the events."""
    with Phoenix(fleet.url(0)) as submitting, Phoenix(fleet.url(1)) as following:
        if sound is not None:
            soundtrack = {"artifact_id": submitting.upload(sound).id}
            request = ReelRequest.model_validate({**request.model_dump(exclude_unset=True), "soundtrack": soundtrack})
        job = submitting.submit_reel(request)
        events = [event.type for event in following.watch(job.id)]
        assert following.get_job(job.id).state is JobState.SUCCEEDED
        following.download(job.id, output)
    return events


def test_a_reel_with_sound_is_made_by_a_fleet(
    fleet: Cluster, media: MediaMaker, mp3_file: Path, tmp_path: Path
) -> None:
    request = ReelRequest.model_validate(
        {"clips": [{"prompt": "one"}, {"prompt": "two"}, {"prompt": "three"}], "aspect_ratio": "9:16", "duration_s": 1}
    )

    events = make(fleet, request, mp3_file, tmp_path / "reel.mp4")

    decoded = decode(tmp_path / "reel.mp4")
    assert (decoded.width, decoded.height, decoded.num_frames) == (480, 854, 48)
    assert decoded.duration_s == pytest.approx(3.0)
    assert media.loudness(tmp_path / "reel.mp4", 3.0).integrated_lufs == pytest.approx(LOUDNESS_LUFS, abs=1)
    assert events[-1] == "job.succeeded"
    assert events.count("clip.succeeded") == 3


def test_a_real_pipeline_renders_a_reel_by_the_same_path(fleet: Cluster, tmp_path: Path) -> None:
    request = ReelRequest.model_validate(
        {"model": "tiny-wan", "clips": [{"prompt": "a cat"}, {"prompt": "a fox"}], "aspect_ratio": "1:1", "steps": 2}
    )

    make(fleet, request, None, tmp_path / "reel.mp4")

    decoded = decode(tmp_path / "reel.mp4")
    assert (decoded.width, decoded.height) == (64, 64)
    assert decoded.num_frames == 2 * 9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_published_openai_package_edits_a_video_with_a_model_that_changes_videos(
    fleet: Cluster, tmp_path: Path
) -> None:
    size: Any = "64x64"
    with OpenAI(base_url=f"{fleet.url(0)}/v1", api_key="none") as openai:
        made = openai.videos.create_and_poll(model="tiny-wan", prompt="a cat", size=size, poll_interval_ms=100)
        file = ("cat.mp4", openai.videos.download_content(made.id).read())
        # `videos.edit` of the package takes files alone, although its types have an id, too.
        of_id = {"prompt": "a fox", "video": {"id": made.id}, "model": "tiny-wan-v2v"}
        started = [
            openai.post("/videos/edits", body=of_id, cast_to=Video),
            openai.videos.edit(prompt="a fox", video=file, extra_body={"model": "tiny-wan-v2v"}),
        ]
        edited = [openai.videos.poll(each.id, poll_interval_ms=100) for each in started]
        openai.videos.download_content(edited[1].id).write_to_file(tmp_path / "fox.mp4")

    assert [(each.status, each.model, each.prompt) for each in edited] == [("completed", "tiny-wan-v2v", "a fox")] * 2
    assert [each.remixed_from_video_id for each in edited] == [made.id, None]
    assert [(each.size, each.seconds) for each in edited] == [(made.size, made.seconds)] * 2
    assert decode(tmp_path / "fox.mp4").num_frames == 9
