"""A held reel in the studio: its card approves the draft."""

import pytest

from fixtures.chromium import Page
from fixtures.up_process import UpStarter
from phoenix.contract import ClipRequest, DraftRequest, ReelRequest

pytestmark = pytest.mark.e2e


async def test_the_card_of_a_held_reel_approves_its_draft(page: Page, start_up: UpStarter):
    up = start_up()
    with up.client() as phoenix:
        clips, draft = [ClipRequest(prompt="a red balloon", duration_s=1)], DraftRequest(quality="draft")
        job = phoenix.submit_reel(ReelRequest(clips=clips, hold="draft", draft=draft))
    await page.open(up.url)
    approve = "document.querySelector('.job[data-state=held] .actions button:not([hidden])')"
    await page.wait_until(f"{approve}?.textContent === 'Approve'")
    assert "is done. POST" in await page.evaluate("document.querySelector('.job[data-state=held] .facts').textContent")

    await page.evaluate(f"{approve}.click()")

    await page.wait_until("document.querySelectorAll('.job[data-state=succeeded]').length === 2")
    with up.client() as phoenix:
        assert phoenix.get_job(job.id).output is not None
    assert page.complaints == []
