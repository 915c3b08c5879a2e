"""Real replicas and a real worker behind the deployed nginx, as a client of the whole sees them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fixtures.fleet import MAX_UPLOAD_BYTES, Fleet
from fixtures.nginx import Nginx, run_nginx
from phoenix.client import Event, Phoenix
from phoenix.contract import ClipRequest, Problem, ReelRequest

pytestmark = pytest.mark.e2e

NGINX_MAX_BODY_BYTES = MAX_UPLOAD_BYTES + 100_000
EPHEMERAL = {"snapshot", "clip.progress", "clip.preview", "job.queue"}
REEL = ReelRequest(
    clips=[ClipRequest(prompt="a red balloon", duration_s=1), ClipRequest(prompt="the harbour", duration_s=1)],
    resolution="240p",
)
# More steps than any machine is through with while replicas are replaced, at the pace of the fleet: 200 s of them.
ENDLESS_REEL = ReelRequest(
    clips=[*REEL.clips, ClipRequest(prompt="the evening sky", duration_s=1, steps=1000)], resolution="240p"
)
LAST_CLIP = len(REEL.clips)


@pytest.fixture
def front(fleet: Fleet, tmp_path: Path) -> Iterator[Nginx]:
    urls = [replica.url for replica in fleet.replicas]
    with run_nginx(tmp_path, urls, max_body=str(NGINX_MAX_BODY_BYTES)) as running:
        yield running


def test_a_reel_is_submitted_followed_and_downloaded_through_nginx(front: Nginx, tmp_path: Path) -> None:
    with Phoenix(front.url) as phoenix:
        job = phoenix.submit_reel(REEL)
        events = list(phoenix.watch(job.id))
        path = phoenix.download(job.id, tmp_path / "reel.mp4")

    assert events[0].type == "snapshot"
    assert events[-1].type == "job.succeeded"
    assert path.read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_replacing_one_replica_after_the_other_costs_no_event(front: Nginx, fleet: Fleet, how: signal.Signals) -> None:
    """Whichever replica has the stream, it loses it once. The job ends when it is canceled, and not before."""
    waiting, is_canceled = list(fleet.replicas), False
    with Phoenix(front.url) as phoenix:
        job = phoenix.submit_reel(ENDLESS_REEL)
        events: list[Event] = []
        for event in phoenix.watch(job.id):
            events.append(event)
            if event.type == "clip.progress" and waiting:
                waiting.pop().replace(how)
            elif event.type == "clip.progress" and event.clip_index == LAST_CLIP and not is_canceled:
                phoenix.cancel(job.id)
                is_canceled = True
    numbers = [event.seq for event in events if event.type not in EPHEMERAL]

    assert waiting == []
    assert numbers == list(range(events[0].seq + 1, events[-1].seq + 1))
    assert events[-1].type == "job.canceled"


@pytest.mark.parametrize("size_bytes", [MAX_UPLOAD_BYTES + 1, NGINX_MAX_BODY_BYTES + 1])
def test_nginx_and_the_api_refuse_a_large_upload_alike(front: Nginx, size_bytes: int) -> None:
    answer = httpx.post(f"{front.url}/v1/uploads", files={"file": ("tune.wav", bytes(size_bytes))}, timeout=100)
    problem = Problem.model_validate_json(answer.content)

    assert answer.status_code == 413
    assert (problem.code, problem.title, problem.instance) == ("PAYLOAD_TOO_LARGE", "Payload too large", "/v1/uploads")
    assert problem.type == "https://phoenix.invalid/problems/payload-too-large"
    assert problem.request_id == answer.headers["x-request-id"]
