"""From an idea to an edited reel on two replicas, which share PostgreSQL, Redis and a bucket, but no disk."""

import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from faults.cluster import TINY, Cluster, run_cluster, wait_until
from fixtures.llm_server import LlmServer, script_of
from fixtures.llm_server import spoken as written
from fixtures.s3_server import Bucket
from fixtures.scripted_server import ScriptedServer
from fixtures.speech import SPEECH_PATH, spoken
from phoenix.access.keys import Scope
from phoenix.contract import JobState

WITHIN_S = 200


@pytest.fixture(scope="module")
def llm() -> Iterator[LlmServer]:
    server = LlmServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def voice() -> Iterator[ScriptedServer]:
    """Speaks for one second, whatever it is asked to say."""
    server = ScriptedServer()
    server.otherwise = spoken(1.0)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def bucket_of_fleet(s3_endpoint: str) -> Bucket:
    name = f"phoenix-{uuid4().hex}"
    httpx.put(f"{s3_endpoint}/{name}", timeout=WITHIN_S).raise_for_status()
    return Bucket(s3_endpoint, name)


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, llm: LlmServer, voice: ScriptedServer, bucket_of_fleet: Bucket
) -> Iterator[Cluster]:
    storage = bucket_of_fleet.settings
    shared = {
        "PHOENIX_STORAGE__URL": storage.url,
        "PHOENIX_STORAGE__S3_ENDPOINT": str(storage.s3_endpoint),
        "PHOENIX_STORAGE__S3_ACCESS_KEY_ID": "an-id",
        "PHOENIX_STORAGE__S3_SECRET_ACCESS_KEY": "a-secret",
        "PHOENIX_AUTH": "required",
        "PHOENIX_DATABASE__STATEMENT_TIMEOUT_S": "100",
        "PHOENIX_LLM__BASE_URL": llm.url,
        "PHOENIX_LLM__MODEL": "scripted",
        "PHOENIX_TTS__BASE_URL": f"{voice.url}/v1",
        "PHOENIX_TTS__API_KEY": "a-key",
        "PHOENIX_TTS__ENGINE": "openai",
        "PHOENIX_TTS__MODEL": "tts",
        "PHOENIX_TTS__VOICE": "alloy",
    }
    with run_cluster(tmp_path_factory.mktemp("fleet")) as cluster:
        cluster.http.headers["Authorization"] = f"Bearer {cluster.make_key(*Scope)}"
        for name in ("a", "b"):
            cluster.add_api(**shared, PHOENIX_DATA_DIR=str(cluster.folder / name))
        cluster.add_worker("all", **shared, PHOENIX_DATA_DIR=str(cluster.folder / "worker"))
        cluster.wait_until_ready()
        yield cluster


def post(fleet: Cluster, replica: int, path: str, body: Any = None) -> dict[str, Any]:
    answer = fleet.http.post(fleet.url(replica) + path, json=body)
    assert answer.is_success, answer.text
    return answer.json()


def wait_for(fleet: Cluster, replica: int, job_id: str, *, reason: str | None = None) -> dict[str, Any]:
    """Until the job has ended, or waits for this reason."""

    def is_there() -> bool:
        job: Any = fleet.get(f"/v1/jobs/{job_id}", replica)
        is_waiting = job["waiting_reason"] is not None and job["waiting_reason"]["code"] == reason
        return is_waiting or JobState(job["state"]).is_terminal

    wait_until(is_there, WITHIN_S)
    return fleet.get(f"/v1/jobs/{job_id}", replica)


def make_reel(fleet: Cluster, **changes: Any) -> dict[str, Any]:
    """Posted to the first replica, and finished as the second sees it."""
    body = {**TINY, "duration_s": 1.5, "seed": 7, "clips": [{"prompt": "a harbour"}, {"prompt": "the sea"}], **changes}
    job = wait_for(fleet, 1, post(fleet, 0, "/v1/reels", body)["id"])
    assert job["error"] is None, job["error"]
    return job


def test_a_storyboard_of_one_replica_is_refined_and_rendered_by_the_other(fleet: Cluster, llm: LlmServer) -> None:
    llm.script = [written(script_of("a harbour at dawn", "boats")), written(script_of("a harbour at dawn", "whales"))]

    made = post(fleet, 0, "/v1/storyboards", {"idea": "Boats leave", "model": "animatic", "planner": "llm"})
    seen = fleet.get(f"/v1/storyboards/{made['id']}", 1)
    refined = post(fleet, 1, f"/v1/storyboards/{made['id']}/messages", {"text": "whales instead"})
    job = post(fleet, 0, "/v1/reels", {**refined["reel"], **TINY})

    assert seen == made
    assert (refined["planner"], refined["revision"]) == ("llm", 2)
    assert ["whales" in clip["prompt"] for clip in refined["reel"]["clips"]] == [False, True]
    assert wait_for(fleet, 1, job["id"])["state"] == "succeeded"


def test_a_reel_is_watched_on_the_other_replica_by_a_signed_playlist_while_it_is_rendered(fleet: Cluster) -> None:
    body = {**TINY, "steps": 15, "clips": [{"prompt": f"clip {number}"} for number in range(4)]}
    job = post(fleet, 0, "/v1/reels", {**body, "reuse": False})
    playlist = fleet.url(1) + post(fleet, 0, f"/v1/jobs/{job['id']}/media-tokens")["playlist"]
    seen: list[tuple[int, bool]] = []

    with httpx.Client(timeout=WITHIN_S) as player:
        end_s = time.monotonic() + WITHIN_S
        text = ""
        while "#EXT-X-ENDLIST" not in text:
            assert time.monotonic() < end_s, text
            answer = player.get(playlist)
            text = answer.text if answer.is_success else ""
            seen.append((text.count("#EXTINF"), "#EXT-X-ENDLIST" in text))
            time.sleep(0.1)
        size, start, url = re.findall(r"#EXT-X-BYTERANGE:(\d+)@(\d+)\n(.*)", text)[0]
        headers = {"Range": f"bytes={start}-{int(start) + int(size) - 1}"}
        segment = player.get(httpx.URL(playlist).join(url), headers=headers, follow_redirects=True)

    assert any(0 < count < seen[-1][0] and not is_over for count, is_over in seen), seen
    assert (segment.status_code, len(segment.content)) == (206, int(size))


def test_narration_and_captions_are_laid_over_a_reel_of_the_fleet(fleet: Cluster, voice: ScriptedServer) -> None:
    clips = [{"prompt": "a harbour", "narration": "The harbour wakes."}, {"prompt": "the sea", "caption": "At five"}]

    job = make_reel(fleet, clips=clips, captions="track")

    srt = fleet.http.get(f"{fleet.url(1)}/v1/jobs/{job['id']}/content?variant=srt", follow_redirects=True).text
    assert len(voice.received_at(SPEECH_PATH)) == 1
    assert "wakes" in srt
    assert "At five" in srt
    assert job["output"]["duration_s"] == pytest.approx(3.0, abs=0.1)


def test_an_edit_on_the_other_replica_renders_one_clip_and_reuses_the_rest(fleet: Cluster) -> None:
    first = make_reel(fleet, clips=[{"prompt": f"a fox {number}"} for number in range(3)])

    edit = post(fleet, 1, f"/v1/jobs/{first['id']}/edits", {"clips": [{"op": "reroll", "index": 1}]})
    job = wait_for(fleet, 0, edit["id"])

    assert [(clip["reused"], clip["attempt"]) for clip in job["clips"]] == [(True, 0), (False, 1), (True, 0)]
    assert (job["state"], job["edited_from"]) == ("succeeded", first["id"])
    hashes = [[clip["sha256"] for clip in manifest_of(fleet, each)["clips"]] for each in (first["id"], job["id"])]
    assert [one == other for one, other in zip(*hashes, strict=True)] == [True, False, True]


def manifest_of(fleet: Cluster, job_id: str) -> dict[str, Any]:
    manifest: dict[str, Any] = fleet.get(f"/v1/jobs/{job_id}/manifest", 1)
    return manifest


def test_a_held_reel_is_approved_on_another_replica_than_it_was_submitted_to(fleet: Cluster) -> None:
    body = {**TINY, "clips": [{"prompt": "a held fox"}], "hold": "draft", "draft": {"model": "animatic"}, "seed": 3}
    held = post(fleet, 0, "/v1/reels", body)
    wait_for(fleet, 1, held["id"], reason="AWAITING_APPROVAL")

    approved = post(fleet, 1, f"/v1/jobs/{held['id']}/approve")

    assert (held["state"], approved["state"]) == ("held", "queued")
    assert wait_for(fleet, 0, held["id"])["state"] == "succeeded"


def test_a_search_on_the_other_replica_finds_a_reel_by_what_it_shows(fleet: Cluster) -> None:
    job = make_reel(fleet, clips=[{"prompt": "a zeppelin over the bay"}, {"prompt": "the mast"}], title="Airship")

    found: Any = fleet.get("/v1/jobs?q=zeppelin+bay", 1)["data"]

    assert [each["id"] for each in found] == [job["id"]]
