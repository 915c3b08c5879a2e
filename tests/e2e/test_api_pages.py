"""The page that shows the API to people, in a real browser that has no way out."""

import pytest

from fixtures.chromium import Page
from fixtures.up_process import UpProcess

pytestmark = pytest.mark.e2e

FRAME = """
new Promise(resolve => {
  const frame = document.createElement("iframe");
  frame.onload = () => resolve(true);
  frame.src = "PATH";
  document.body.append(frame);
})
"""
HOSTS = "[...new Set(performance.getEntriesByType('resource').map(entry => new URL(entry.name).host))]"


async def test_it_shows_the_operations_with_the_servers_own_files_alone(page: Page, lasting_up: UpProcess):
    up = lasting_up
    await page.open(f"{up.url}/docs")
    await page.wait_until("document.querySelector('#operations-jobs-get_job')")
    assert await page.evaluate(HOSTS) == [up.url.removeprefix("http://")]
    assert page.complaints == []


async def test_it_sends_a_request_that_changes_something(page: Page, lasting_up: UpProcess):
    up = lasting_up
    await page.open(f"{up.url}/docs")
    await page.wait_until("document.querySelector('#operations-webhooks-rotate_webhook_secret')")
    await page.evaluate("document.querySelector('#operations-webhooks-rotate_webhook_secret button').click()")
    await page.wait_until("document.querySelector('.try-out__btn')")
    await page.evaluate("document.querySelector('.try-out__btn').click()")
    await page.wait_until("document.querySelector('button.execute')")
    await page.evaluate("document.querySelector('button.execute').click()")
    await page.wait_until("document.querySelector('.live-responses-table .response-col_status')")
    assert (await page.evaluate("document.querySelector('.live-responses-table .response td').textContent"))[
        :3
    ] == "200"
    assert page.complaints == []


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_no_page_may_be_shown_in_a_frame(page: Page, lasting_up: UpProcess, path: str):
    up = lasting_up
    await page.open(f"{up.url}/health/live")
    await page.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'")
    await page.evaluate(FRAME.replace("PATH", path))
    assert any("frame-ancestors" in complaint for complaint in page.complaints)
