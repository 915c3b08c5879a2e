"""A reel is watched in a real browser, by hls.js, while its last clips are still being rendered."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.chromium import Page
from fixtures.client_tools import Tools
from fixtures.up_process import PhoenixStarter
from phoenix.cli.embedded.listening import READY_LINE

pytestmark = pytest.mark.e2e

CLIPS, CLIP_S, FADE_S = 4, 2, 0.5
REEL_S = CLIPS * CLIP_S - (CLIPS - 1) * FADE_S
WATCH = """
window.faults = []; window.stalls = [];
const video = window.video = document.body.appendChild(document.createElement("video"));
video.muted = true;
const again = { maxNumRetry: Infinity, retryDelayMs: 1000, maxRetryDelayMs: 1000, shouldRetry: () => true };
const patient = { maxTimeToFirstByteMs: 10000, maxLoadTimeMs: 20000, timeoutRetry: again, errorRetry: again };
const player = new Hls({ manifestLoadPolicy: { default: patient } });
player.on(Hls.Events.ERROR, (_, data) => faults.push([data.details, data.fatal, ahead()]));
function ahead() {
  const { buffered, currentTime } = video;
  return buffered.length ? buffered.end(buffered.length - 1) - currentTime : 0;
}
// A player that has no more to show has to wait. One that has more, and stands still, has stalled.
video.addEventListener("waiting", () => ahead() > 0.5 && stalls.push([video.currentTime, ahead()]));
player.on(Hls.Events.MANIFEST_PARSED, () => video.play());
player.loadSource("URL");
player.attachMedia(video);
"""
SEEN = """({duration: video.duration, ranges: video.buffered.length, stalls, fatal: faults.filter(f => f[1]),
  in_the_middle: faults.filter(f => f[2] > 0.5), dropped: video.getVideoPlaybackQuality().droppedVideoFrames,
  frames: video.getVideoPlaybackQuality().totalVideoFrames, sound: video.webkitAudioDecodedByteCount})"""


@pytest.fixture
def hls_js(node_tools: Tools) -> str:
    return (node_tools.programs.parent / "hls.js" / "dist" / "hls.min.js").read_text()


async def submit(http: httpx.AsyncClient) -> str:
    clips = [{"prompt": f"the harbour at {hour} o'clock"} for hour in range(CLIPS)]
    fade = {"kind": "crossfade", "duration_s": FADE_S}
    reel = {"clips": clips, "duration_s": CLIP_S, "transition": fade, "resolution": "240p"}
    return (await http.post("/v1/reels", json=reel)).raise_for_status().json()["id"]


async def test_a_reel_plays_to_its_end_while_it_is_rendered_on_a_server_that_needs_keys(
    page: Page, start_phoenix: PhoenixStarter, tmp_path: Path, hls_js: str
) -> None:
    environment = {"PHOENIX_AUTH": "required", "PHOENIX_DATA_DIR": str(tmp_path / "data")}
    up = start_phoenix("up", "--port", "0", **environment, PHOENIX_ANIMATIC__SECONDS_PER_STEP="0.2")
    url = up.read_line().removeprefix(READY_LINE)
    keys = start_phoenix("keys", "create", "me", **environment)
    assert keys.wait() == 0, keys.log
    key = {"Authorization": f"Bearer {keys.output().strip()}"}
    async with httpx.AsyncClient(base_url=url, headers=key, trust_env=False, timeout=60) as http:
        job_id = await submit(http)
        playlist = (await http.post(f"/v1/jobs/{job_id}/media-tokens")).json()["playlist"]
        await page.open(f"{url}/health/live")
        await page.wait_until("document.body && document.readyState === 'complete'")
        await page.evaluate(hls_js)
        await page.evaluate(WATCH.replace("URL", playlist))
        await page.wait_until("window.video?.currentTime > 0.5")
        playing = (await http.get(f"/v1/jobs/{job_id}")).json()
        await page.wait_until("video.ended")

    seen: dict[str, Any] = await page.evaluate(SEEN)
    assert (playing["state"], playing["clips"][-1]["state"]) in (("running", "running"), ("running", "queued"))
    assert seen["duration"] == pytest.approx(REEL_S, abs=0.05)
    assert (seen["ranges"], seen["stalls"], seen["fatal"], seen["in_the_middle"]) == (1, [], [], [])
    assert (seen["frames"] > 0, seen["sound"] > 0) == (True, True)
