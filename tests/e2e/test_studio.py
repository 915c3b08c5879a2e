"""The studio in a real browser: a reel from the form to the player, under the page's own security policy."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.chromium import Page
from fixtures.stream_fleet import StreamFleet
from fixtures.studio_form import submit
from fixtures.up_process import PhoenixStarter, UpProcess, UpStarter
from phoenix.cli.embedded.listening import READY_LINE
from phoenix.contract import PROMPT_CUT, ClipRequest, ClipWarning, ReelRequest

pytestmark = pytest.mark.e2e

ONE_SECOND = "document.getElementById('duration').value = '1'"
PROMPTS = ("<b>a red balloon</b>", "the sea")


def click(button: str) -> str:
    return f"[...document.querySelectorAll('.actions button')].find(b => b.textContent === '{button}').click()"


@pytest.fixture(scope="module")
def paced_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """Slow enough for the progress of a clip to be seen."""
    with closing(UpProcess(tmp_path_factory.mktemp("up"), PHOENIX_ANIMATIC__SECONDS_PER_STEP="0.05")) as up:
        up.wait_until_ready()
        yield up


async def test_a_reel_goes_from_the_form_to_the_player(page: Page, paced_up: UpProcess):
    await page.open(paced_up.url)
    await page.wait_until("document.getElementById('model').value")
    await page.evaluate(ONE_SECOND)
    await submit(page, *PROMPTS)
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
        await page.evaluate(click(button))
    await page.evaluate(click("Delete for good?"))
    await page.wait_until("!document.querySelector('.job') && !document.getElementById('jobs-empty').hidden")
    assert page.complaints == []


async def test_with_a_key_a_video_plays_and_seeks_without_being_fetched_first(
    page: Page, start_phoenix: PhoenixStarter, tmp_path: Path
):
    folder = str(tmp_path / "data")
    up = start_phoenix("up", "--port", "0", PHOENIX_AUTH="required", PHOENIX_DATA_DIR=folder)
    url = up.read_line().removeprefix(READY_LINE)
    keys = start_phoenix("keys", "create", "me", PHOENIX_DATA_DIR=folder)
    assert keys.wait() == 0, keys.log
    await page.open(url)
    await page.wait_until("document.getElementById('key-dialog')?.open")
    await page.evaluate(f"document.getElementById('key').value = '{keys.output().strip()}'")
    await page.evaluate("document.querySelector('#key-dialog .primary').click()")
    await page.wait_until("document.getElementById('model').value")
    await page.evaluate(ONE_SECOND)
    await submit(page, *PROMPTS)
    await page.wait_until("document.querySelector('.job[data-state=succeeded] video')?.poster")
    fetched = "performance.getEntriesByType('resource').filter(e => e.name.includes('/content?token=')).length"
    assert await page.evaluate(fetched) == 0

    await page.evaluate("window.video = document.querySelector('video'); video.muted = true; video.play()")
    await page.wait_until("video.currentTime > 0.2")
    await page.evaluate("video.pause(); video.currentTime = 1.5")
    await page.wait_until("!video.seeking && video.readyState >= 2")

    assert await page.evaluate("[video.currentTime, video.duration, video.seekable.end(0), video.error]") == [
        *(1.5, 2, 2),
        None,
    ]
    part = "fetch(video.src, {headers: {Range: 'bytes=0-9'}}).then(answer => answer.status)"
    assert await page.evaluate(part) == 206
    # Before the key was there, the lists were refused.
    assert [each for each in page.complaints if "/content" in each] == []


CUT = ClipWarning(code=PROMPT_CUT, message="<i>93</i> tokens, 77 read.", encoder="text_encoder", tokens=93, limit=77)
SHOWN_WARNINGS = "[...document.querySelectorAll('.warnings:not([hidden]) li')].map(line => line.textContent).join()"
WARNED_CLIPS = "[...document.querySelectorAll('.clips li[data-warned=true] .unseen')].map(l => l.textContent).join()"


async def test_a_warning_is_shown_at_its_clip_as_soon_as_the_clip_is_done_and_after_a_reload(
    page: Page, stream_fleet: StreamFleet
):
    driver, url = stream_fleet.driver, stream_fleet.replicas[0].url
    job_id = await driver.submit("a harbour", "the sea")
    first = await driver.claim(job_id)
    await page.open(url)
    await page.wait_until("document.querySelector('.job[data-state=running]')")
    await driver.succeed(first)
    await driver.succeed(await driver.claim(job_id), warnings=(CUT,))
    for _ in range(2):
        await page.wait_until(f"{SHOWN_WARNINGS} === 'Clip 2: <i>93</i> tokens, 77 read.'")
        assert await page.evaluate(WARNED_CLIPS) == "Clip 2, succeeded, with a warning: the sea"
        await page.open(url)
    assert page.complaints == []


async def test_the_faults_of_a_refusal_are_shown_at_the_form(page: Page, paced_up: UpProcess):
    await page.open(paced_up.url)
    await page.wait_until("document.getElementById('model').value")
    await page.evaluate(
        "document.getElementById('new').noValidate = true; document.getElementById('crossfade').value = 9"
    )
    await page.evaluate(ONE_SECOND)
    await submit(page, *PROMPTS)
    await page.wait_until("document.getElementById('new-problem').textContent.includes('/transition/duration_s')")


async def test_a_server_that_goes_away_is_shown(page: Page, start_up: UpStarter):
    up = start_up()
    await page.open(up.url)
    await page.wait_until("document.getElementById('connection').dataset.state === 'live'")
    up.send(15)
    up.wait()
    await page.wait_until("document.getElementById('connection').textContent === 'the server does not answer'")
