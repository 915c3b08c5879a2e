"""The page that shows the API to people, in a real browser that has no way out."""

import pytest

from fixtures.chromium import Page
from fixtures.up_process import UpStarter

pytestmark = pytest.mark.e2e

HOSTS = "[...new Set(performance.getEntriesByType('resource').map(entry => new URL(entry.name).host))]"


async def test_it_shows_the_operations_with_the_servers_own_files_alone(page: Page, start_up: UpStarter):
    up = start_up()
    await page.open(f"{up.url}/docs")
    await page.wait_until("document.querySelector('#operations-jobs-get_job')")
    assert await page.evaluate(HOSTS) == [up.url.removeprefix("http://")]
