"""The dashboard in a real browser: a reel from the form to the player, under the page's own security policy."""

import pytest

from fixtures.chromium import Page
from fixtures.up_process import UpStarter
from phoenix.contract.requests import ClipRequest, ReelRequest

pytestmark = pytest.mark.e2e

SUBMIT = """
document.getElementById("prompts").value = "<b>a red balloon</b>\\nthe sea";
document.getElementById("duration").value = "1";
document.getElementById("new").requestSubmit();
"""


async def test_a_reel_goes_from_the_form_to_the_player(page: Page, start_up: UpStarter):
    up = start_up(PHOENIX_ANIMATIC__SECONDS_PER_STEP="0.05")
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    await page.evaluate(SUBMIT)
    await page.wait_until("document.querySelector('.clips [data-state=running] .fill')?.style.transform.length > 9")
    await page.wait_until("document.querySelector('.job[data-state=succeeded] video')?.poster")
    assert await page.evaluate("document.querySelector('.job h3').textContent") == "<b>a red balloon</b> +1"
    assert await page.evaluate(
        "fetch(document.querySelector('video').src).then(r => r.headers.get('content-type'))"
    ) == ("video/mp4")
    assert page.complaints == []


async def test_the_buttons_steer_a_job(page: Page, start_up: UpStarter):
    up = start_up(PHOENIX_ANIMATIC__SECONDS_PER_STEP="1")
    with up.client() as phoenix:
        phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt="a red balloon")]))
    await page.open(up.url)
    for state, button in (("running", "Cancel"), ("canceled", "Retry"), ("running", "Cancel"), ("canceled", "Delete")):
        await page.wait_until(f"document.querySelector('.job[data-state={state}]')")
        await page.evaluate(
            f"[...document.querySelectorAll('.actions button')].find(b => b.textContent === '{button}').click()"
        )
    await page.wait_until("!document.querySelector('.job') && !document.getElementById('jobs-empty').hidden")
    assert page.complaints == []


async def test_the_faults_of_a_refusal_are_shown_at_the_form(page: Page, start_up: UpStarter):
    up = start_up()
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    await page.evaluate(
        "document.getElementById('new').noValidate = true; document.getElementById('crossfade').value = 9"
    )
    await page.evaluate(SUBMIT)
    await page.wait_until("document.getElementById('new-problem').textContent.includes('/transition/duration_s')")


async def test_a_server_that_goes_away_is_told(page: Page, start_up: UpStarter):
    up = start_up()
    await page.open(up.url)
    await page.wait_until("document.getElementById('connection').dataset.state === 'live'")
    up.send(15)
    up.wait()
    await page.wait_until("document.getElementById('connection').textContent === 'the server does not answer'")
