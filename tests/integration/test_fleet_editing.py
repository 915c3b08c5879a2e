"""From an idea to an edited reel on two replicas, which share PostgreSQL, Redis and a bucket, but no disk."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from faults.cluster import TINY, Cluster, run_cluster, wait_until
from fixtures.llm_server import LlmServer, script_of
from fixtures.llm_server import spoken as written
from fixtures.s3_server import Bucket
from fixtures.scripted_server import ScriptedServer
from fixtures.speech import SPEECH_PATH, VOICE_HZ, loudness_of, spoken
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


def story(*prompts: str) -> dict[str, Any]:
    """What the language model writes: two seconds for each prompt. The last clip is spoken, the others captioned."""
    last = len(prompts) - 1
    clips = [
        {"prompt": prompt, "characters": [], "duration_s": 2}
        | (
            {"caption": "", "narration": "The harbour wakes."}
            if at == last
            else {"caption": "At five", "narration": ""}
        )
        for at, prompt in enumerate(prompts)
    ]
    return script_of(clips=clips)


def watch_picture(fleet: Cluster, replica: int, playlist: str, is_enough: Callable[[str], bool]) -> str:
    """The playlist of the picture, once it is as wanted."""
    end_s = time.monotonic() + WITHIN_S
    with httpx.Client(base_url=fleet.url(replica), timeout=WITHIN_S) as player:
        while time.monotonic() < end_s:
            answer = player.get(playlist)
            if answer.is_success:
                pictures = [line for line in answer.text.splitlines() if line.startswith("playlist.m3u8?")]
                text = player.get(str(httpx.URL(playlist).join(pictures[0]))).text if pictures else answer.text
                if is_enough(text):
                    return text
            time.sleep(0.1)
    raise AssertionError(f"{playlist} never was as wanted")


def is_over(playlist: str) -> bool:
    return "#EXT-X-ENDLIST" in playlist


def test_an_idea_becomes_a_rerolled_captioned_and_narrated_final_that_is_watched_as_it_grows(
    fleet: Cluster, llm: LlmServer, voice: ScriptedServer, tmp_path: Path
) -> None:
    prompts, may_speak = ["a harbour at dawn", "gulls", "boats"], threading.Event()
    llm.script = [written(story(*prompts)), written(story(*prompts[:2], "whales"))]
    voice.on("POST", SPEECH_PATH, replace(spoken(1.0), waits_for=may_speak))

    idea = {"idea": "Boats leave", "model": "animatic", "planner": "llm", "caption": True, "narrate": True}
    made = post(fleet, 0, "/v1/storyboards", idea)
    seen = fleet.get(f"/v1/storyboards/{made['id']}", 1)
    refined = post(fleet, 1, f"/v1/storyboards/{made['id']}/messages", {"text": "whales instead"})
    reel = post(fleet, 0, "/v1/reels", {**refined["reel"], **TINY, "fit_narration": False})
    playlist = post(fleet, 0, f"/v1/jobs/{reel['id']}/media-tokens")["playlist"]
    # The segments of the last clip wait for its speech.
    growing = watch_picture(fleet, 1, playlist, lambda text: "clips/1/segments" in text)
    may_speak.set()
    complete = watch_picture(fleet, 1, playlist, is_over)
    first = wait_for(fleet, 1, reel["id"])
    edit = post(fleet, 1, f"/v1/jobs/{reel['id']}/edits", {"clips": [{"op": "reroll", "index": 1}]})
    final = wait_for(fleet, 0, edit["id"])

    assert (seen, refined["planner"], refined["revision"]) == (made, "llm", 2)
    assert ["whales" in clip["prompt"] for clip in refined["reel"]["clips"]] == [False, False, True]
    assert (is_over(growing), complete.startswith(growing)) == (False, True)
    assert (first["error"], final["error"], final["edited_from"]) == (None, None, reel["id"])
    assert [(clip["reused"], clip["attempt"]) for clip in final["clips"]] == [(True, 0), (False, 1), (True, 0)]
    srt = fleet.http.get(f"{fleet.url(1)}/v1/jobs/{final['id']}/content?variant=srt", follow_redirects=True).text
    assert ("wakes" in srt, srt.count("At five")) == (True, 2)
    video = tmp_path / "final.mp4"
    content = fleet.http.get(f"{fleet.url(0)}/v1/jobs/{final['id']}/content", follow_redirects=True).content
    video.write_bytes(content)
    heard = loudness_of(video, VOICE_HZ, 0.5)
    assert (max(heard[:8]) < 0.01, max(heard[8:]) > 0.01) == (True, True)
    # Both versions have the same speech.
    assert len(voice.received_at(SPEECH_PATH)) == 1


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
