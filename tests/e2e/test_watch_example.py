"""The example page of the documentation, pasted into a page of Phoenix's origin in a real browser."""

import json

import pytest

from fixtures.chromium import Page
from fixtures.repository import REPOSITORY
from fixtures.stream_fleet import StreamFleet

pytestmark = pytest.mark.e2e

EXAMPLE = REPOSITORY / "docs" / "examples" / "watch.html"


async def paste_example(page: Page, url: str, job_id: str) -> None:
    await page.open(f"{url}/health/live#{job_id}")
    await page.wait_until("location.hash && document.readyState === 'complete'")
    await page.evaluate(f"document.open(); document.write({json.dumps(EXAMPLE.read_text())}); document.close()")


async def test_the_example_page_follows_a_job_to_its_end_over_the_loss_of_its_replica(
    page: Page, stream_fleet: StreamFleet
) -> None:
    driver, replica = stream_fleet.driver, stream_fleet.replicas[0]
    job_id = await driver.submit("one", "two")
    await paste_example(page, replica.url, job_id)
    await page.wait_until("document.getElementById('log').textContent.includes('queued: ')")
    first = await driver.claim(job_id)
    await driver.progress(first, 10, 0.25)
    await page.wait_until("document.getElementById('bar').value === 0.25")
    assert "25 %" in await page.evaluate("document.getElementById('state').textContent")

    replica.end()
    await page.wait_until("document.getElementById('state').textContent === 'reconnecting'")
    await driver.succeed(first)
    replica.start()
    await driver.finish(job_id)
    await page.wait_until("document.getElementById('state').textContent === 'job.succeeded'")

    log = (await page.evaluate("document.getElementById('log').textContent")).splitlines()
    numbers = [int(line.split()[0]) for line in log if line[0].isdigit()]
    assert numbers == list(range(2, 8))
    assert log[-1] == f"/v1/jobs/{job_id}/content"
    # The browser complains of every address that does not answer; nothing else may be wrong.
    assert [said for said in page.complaints if '"source": "network"' not in said] == []
