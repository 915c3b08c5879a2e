"""The studio plays what is stored in a bucket, under the page's own security policy."""

import pytest

from fixtures.chromium import Page
from fixtures.s3_server import Bucket
from fixtures.studio_form import READY, submit
from fixtures.up_process import UpStarter

pytestmark = pytest.mark.e2e


async def test_a_result_in_a_bucket_plays_from_the_bucket(page: Page, start_up: UpStarter, bucket: Bucket):
    storage = bucket.settings
    secret = storage.s3_secret_access_key
    assert storage.url is not None
    assert secret is not None
    up = start_up(
        PHOENIX_STORAGE__URL=storage.url,
        PHOENIX_STORAGE__S3_ENDPOINT=bucket.endpoint,
        PHOENIX_STORAGE__S3_ACCESS_KEY_ID=str(storage.s3_access_key_id),
        PHOENIX_STORAGE__S3_SECRET_ACCESS_KEY=secret.get_secret_value(),
    )
    await page.open(up.url)
    await page.wait_until(READY)
    await page.evaluate("document.getElementById('duration').value = '1'")
    await submit(page, "a harbour")
    await page.wait_until("document.querySelector('.job[data-state=succeeded] video')?.poster")
    await page.evaluate("window.video = document.querySelector('.job video'); video.muted = true; video.play()")
    await page.wait_until("video.currentTime > 0.3")
    assert page.complaints == []
