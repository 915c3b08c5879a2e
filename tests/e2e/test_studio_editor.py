"""A reel that has ended is edited in the studio, and its versions are compared."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.chromium import Page
from fixtures.stream_fleet import StreamFleet
from fixtures.up_process import UpProcess
from phoenix.contract import ClipRequest, Job, JobState, ReelRequest, ResolvedReel

pytestmark = pytest.mark.e2e

CARDS = "[...document.querySelectorAll('#edit-clips .clip-card')]"
VIDEOS = "[...document.querySelectorAll('#compare-versions video')]"
PLAN = "document.getElementById('edit-plan').textContent"
STATE = "document.getElementById('reel-state').textContent"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with closing(UpProcess(tmp_path_factory.mktemp("up"))) as opened:
        opened.wait_until_ready()
        yield opened


def make(up: UpProcess, *clips: ClipRequest) -> Job:
    """A reel that has ended."""
    with up.client() as phoenix:
        job = phoenix.submit_reel(ReelRequest(clips=list(clips), duration_s=1, resolution="240p"))
        for _ in phoenix.watch(job.id):
            pass
        return phoenix.get_job(job.id)


def newest(up: UpProcess) -> Job:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0]


async def open_reel(page: Page, up: UpProcess, job: Job) -> None:
    await page.open(f"{up.url}/#job={job.id}")
    await page.wait_until(f"{CARDS}.length === {len(job.clips)} && {CARDS}.every(card => card.querySelector('video'))")


async def press_in(page: Page, card: int, name: str) -> None:
    await page.evaluate(f"{CARDS}[{card}].querySelector('[aria-label^=\"{name}\"]').click()")


async def submit(page: Page) -> None:
    await page.evaluate("document.getElementById('edit').requestSubmit()")
    await page.wait_until("document.querySelector('#reel-versions a[href^=\"#compare\"]')")
    await page.wait_until(f"{STATE} === 'succeeded'")


def reel(*prompts: str) -> list[ClipRequest]:
    return [ClipRequest(prompt=prompt) for prompt in prompts]


async def test_a_re_rolled_and_a_moved_clip_make_a_version_that_reuses_the_rest(page: Page, up: UpProcess):
    job = make(up, *reel("one", "two", "three", "four"))
    await open_reel(page, up, job)
    await press_in(page, 2, "Re-roll")
    await page.evaluate(f"{CARDS}[3].querySelector('.grip').focus()")
    await page.press("ArrowUp", "ArrowUp")
    assert await page.evaluate(PLAN) == "1 clip rendered, 3 reused"
    assert (await page.focus()).name == "Move clip 2: arrow keys"
    await submit(page)

    edited = newest(up)
    assert [clip.prompt for clip in edited.clips] == ["one", "four", "two", "three"]
    assert [clip.reused for clip in edited.clips] == [True, True, True, False]
    assert edited.edited_from == job.id
    assert "3 reused" in await page.evaluate("document.getElementById('reel-facts').textContent")
    assert page.complaints == []


async def test_clips_are_dragged_replaced_inserted_and_removed(page: Page, up: UpProcess):
    job = make(up, *reel("one", "two", "three"))
    await page.send("Emulation.setDeviceMetricsOverride", width=1280, height=1400, deviceScaleFactor=1, mobile=False)
    await open_reel(page, up, job)
    await drag(page, 0, 2)
    assert await prompts(page) == ["two", "three", "one"]
    await press_in(page, 1, "Remove")
    await page.evaluate(f"{CARDS}[0].querySelector('textarea').select()")
    await page.write("another two")
    await press_in(page, 0, "Insert after")
    await page.write("new")
    assert await page.evaluate(PLAN) == "2 clips rendered, 1 reused"
    await submit(page)

    edited = newest(up)
    assert [clip.prompt for clip in edited.clips] == ["another two", "new", "one"]
    assert [clip.reused for clip in edited.clips] == [False, False, True]
    assert page.complaints == []


async def prompts(page: Page) -> list[str]:
    return await page.evaluate(f"{CARDS}.map(card => card.querySelector('textarea').value)")


async def drag(page: Page, card: int, to: int) -> None:
    await page.evaluate(f"{CARDS}[{card}].scrollIntoView({{block: 'center'}})")
    middle = "(box => [box.x + box.width / 2, box.y + box.height / 2])"
    places = [
        await page.evaluate(f"{middle}({CARDS}[{index}].querySelector('.grip').getBoundingClientRect())")
        for index in (card, to)
    ]
    (from_x, from_y), (to_x, to_y) = places
    await mouse(page, "mousePressed", from_x, from_y)
    await mouse(page, "mouseMoved", to_x, to_y)
    await mouse(page, "mouseReleased", to_x, to_y)


async def mouse(page: Page, kind: str, x: float, y: float) -> None:
    held = kind != "mouseReleased"
    await page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=int(held), clickCount=1)


async def test_another_take_is_chosen_without_rendering(page: Page, up: UpProcess):
    job = make(up, ClipRequest(prompt="one", takes=2), ClipRequest(prompt="two"))
    await page.open(f"{up.url}/#job={job.id}")
    await page.wait_until("document.querySelectorAll('.take video').length === 2")
    await page.evaluate("document.querySelectorAll('.take input')[1].click()")
    assert await page.evaluate(PLAN) == "0 clips rendered, 2 reused"
    await submit(page)
    edited = newest(up)
    assert [take.is_shown for take in edited.clips[0].takes] == [False, True]
    assert all(clip.reused for clip in edited.clips)


async def test_a_clip_gets_more_takes(page: Page, up: UpProcess):
    job = make(up, *reel("one", "two"))
    await open_reel(page, up, job)
    await page.evaluate(f"{CARDS}[0].querySelector('details').open = true")
    await page.evaluate(f"{CARDS}[0].querySelector('[data-name=takes]').select()")
    await page.write("3")
    await submit(page)
    edited = newest(up)
    assert [len(clip.takes) for clip in edited.clips] == [3, 0]
    assert edited.clips[1].reused
    await page.wait_until("document.querySelectorAll('.take video').length === 3")


async def test_an_upload_becomes_the_soundtrack_of_a_version_and_every_clip_is_reused(
    page: Page, up: UpProcess, wav_file: Path
):
    job = make(up, *reel("one"))
    with up.client() as phoenix:
        uploaded = phoenix.upload(wav_file)
    await open_reel(page, up, job)
    await page.wait_until("document.querySelectorAll('#edit-audio-kept option').length > 1")
    await page.evaluate(f"document.getElementById('edit-audio-kept').value = '{uploaded.id}'")
    await page.evaluate("document.getElementById('edit-audio-kept').dispatchEvent(new Event('input', {bubbles: true}))")
    assert await page.evaluate(PLAN) == "0 clips rendered, 1 reused"
    await submit(page)
    request = newest(up).request
    assert isinstance(request, ResolvedReel)
    assert request.soundtrack is not None
    assert request.soundtrack.artifact_id == uploaded.id


async def test_two_versions_play_and_stop_together(page: Page, up: UpProcess):
    job = make(up, *reel("one", "two"))
    await open_reel(page, up, job)
    await press_in(page, 1, "Re-roll")
    await submit(page)
    await page.evaluate("document.querySelector('#reel-versions a[href^=\"#compare\"]').click()")
    await page.wait_until(f"{VIDEOS}.length === 2 && {VIDEOS}.every(video => video.src)")
    # A click by a script is none of a person: the browser would not play sound.
    await page.evaluate("document.getElementById('compare-play').focus()")
    await page.press("Enter")
    await page.wait_until(f"{VIDEOS}[1].currentTime > 0.3")
    await page.press("Enter")
    await page.wait_until(f"{VIDEOS}.every(video => video.paused)")
    first, second = await page.evaluate(f"{VIDEOS}.map(video => video.currentTime)")
    assert abs(first - second) < 0.5
    changes = "[...document.querySelectorAll('#compare-rows tr')].map(row => row.cells[1].textContent)"
    assert await page.evaluate(changes) == ["same", "other seed"]
    assert page.complaints == []


async def test_the_faults_of_an_edit_are_shown_and_the_draft_stays(page: Page, up: UpProcess):
    job = make(up, *reel("one", "two"))
    await open_reel(page, up, job)
    await page.evaluate("document.getElementById('edit').noValidate = true")
    await page.evaluate(f"{CARDS}[1].querySelector('[type=number]').select()")
    await page.write("500")
    await page.evaluate("document.getElementById('edit').requestSubmit()")
    await page.wait_until("document.getElementById('edit-problem').textContent.includes('/clips/0/clip/duration_s')")
    assert await page.evaluate(f"{CARDS}[1].querySelector('[type=number]').value") == "500"


async def test_a_clip_plays_as_soon_as_it_is_done(page: Page, stream_fleet: StreamFleet):
    driver, url = stream_fleet.driver, stream_fleet.replicas[0].url
    job_id = await driver.submit("one", "two")
    await page.open(f"{url}/#job={job_id}")
    await page.wait_until(f"{CARDS}.length === 2")
    await driver.succeed(await driver.claim(job_id))
    await page.wait_until(f"{CARDS}[0].querySelector('video')?.src.endsWith('/clips/0/content')")
    assert await page.evaluate(f"{CARDS}[1].querySelector('video')") is None


async def test_a_reel_that_runs_cannot_be_edited_until_it_has_ended(page: Page, up: UpProcess):
    with up.client() as phoenix:
        job = phoenix.submit_reel(ReelRequest(clips=reel(*(f"clip {number}" for number in range(40))), duration_s=1))
    await page.open(f"{up.url}/#job={job.id}")
    await page.wait_until("document.getElementById('edit-fields').disabled")
    with up.client() as phoenix:
        phoenix.cancel(job.id)
    await page.wait_until("!document.getElementById('edit-fields').disabled")
    assert newest(up).state is JobState.CANCELED
