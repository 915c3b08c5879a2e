"""A browser's own EventSource, cut off again and again by nginx and dying replicas, misses nothing."""

import asyncio
import signal
from pathlib import Path

import pytest

from fixtures.chromium import open_chromium
from fixtures.nginx import run_nginx
from fixtures.stream_fleet import StreamFleet

pytestmark = pytest.mark.e2e

FOLLOW = """
window.seen = []; window.opened = 0; window.progress = 0; window.wentBack = 0; window.done = false;
const names = ["job.queued", "job.started", "clip.started", "clip.succeeded", "clip.retrying", "job.assembling"];
const source = new EventSource("/v1/jobs/JOB/events?last_event_id=0");
source.onopen = () => { window.opened += 1; };
for (const name of names) source.addEventListener(name, (event) => window.seen.push(Number(event.lastEventId)));
source.addEventListener("clip.progress", (event) => {
  const now = JSON.parse(event.data).job_progress;
  if (now < window.progress) window.wentBack += 1;
  window.progress = now;
});
source.addEventListener("job.succeeded", (event) => {
  window.seen.push(Number(event.lastEventId)); window.done = true; source.close();
});
"""


async def test_an_event_source_sees_every_event_once_while_replicas_die(
    stream_fleet: StreamFleet, tmp_path: Path
) -> None:
    driver = stream_fleet.driver
    job_id = await driver.submit("one")
    urls = [replica.url for replica in stream_fleet.replicas]
    with run_nginx(tmp_path, urls) as nginx:
        async with open_chromium(tmp_path / "profile") as page:
            await page.open(f"{nginx.url}/health/live")
            await page.evaluate(FOLLOW.replace("JOB", job_id))
            for turn in range(8):
                claimed = await driver.claim(job_id)
                await driver.progress(claimed, turn, turn / 10)
                await asyncio.to_thread(stream_fleet.replicas[turn % 2].replace, signal.SIGKILL)
                await driver.hand_back(claimed)
            await driver.finish(job_id)
            await page.wait_until("window.done")
            seen, opened = await page.evaluate("window.seen"), await page.evaluate("window.opened")
            went_back = await page.evaluate("window.wentBack")

    assert seen == list(range(1, len(seen) + 1))
    assert opened > 4
    assert went_back == 0
