"""The form and the list of jobs by keyboard alone, in a real browser: where the focus is, and what each key does."""

from collections.abc import Iterator

import pytest

from fixtures.chromium import Focus, Page
from fixtures.up_process import UpProcess
from phoenix.contract import ClipRequest, Job, ReelRequest, ResolvedReel

pytestmark = pytest.mark.e2e

FORM_IS_READY = "document.getElementById('model').value"
FORM = [
    ("textbox", "Prompt of clip 1"),
    ("DisclosureTriangle", "More"),
    ("button", "Add a file to clip 1"),
    ("button", "Earlier uploads for clip 1"),
    ("button", "Add a clip"),
    ("textbox", "Title"),
    ("combobox", "Model"),
    ("combobox", "Aspect ratio"),
    ("combobox", "Resolution"),
    ("spinbutton", "Seconds per clip"),
    ("spinbutton", "Crossfade, seconds"),
    ("combobox", "Quality"),
    ("combobox", "Interpolator"),
    ("spinbutton", "Frames per second"),
    ("button", "First picture of each clip"),
    ("checkbox", "From the end of the clip before"),
    ("DisclosureTriangle", "More for all clips"),
    ("combobox", "Captions"),
    ("textbox", "Voice of the narration"),
    ("checkbox", "A clip waits until its narration has ended"),
    ("button", "Soundtrack"),
    ("checkbox", "Show me a draft first"),
    ("button", "Generate"),
    ("DisclosureTriangle", "As code"),
    ("DisclosureTriangle", "Make a face say a sound"),
    ("searchbox", "Search jobs: words, and #tags"),
    ("checkbox", "Favorites"),
    ("button", "Search"),
    ("combobox", "Show jobs in state"),
]
REFRESHES = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/v1/jobs?')).length"
# Every element of the page that can have the focus, and a few more.
MOST_TABS = 200


@pytest.fixture(scope="module")
def running_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """Its jobs run for as long as a test takes."""
    up = UpProcess(tmp_path_factory.mktemp("up"), PHOENIX_ANIMATIC__SECONDS_PER_STEP="5")
    try:
        up.wait_until_ready()
        yield up
    finally:
        up.close()


@pytest.fixture
def up(running_up: UpProcess) -> UpProcess:
    """Without a job that a test before has left."""
    with running_up.client() as phoenix:
        for job in phoenix.list_jobs(limit=100).data:
            if not job.state.is_terminal:
                phoenix.cancel(job.id)
    return running_up


def submit(up: UpProcess, *prompts: str) -> list[Job]:
    with up.client() as phoenix:
        return [phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt=prompt)])) for prompt in prompts]


def card(title: str, state: str) -> str:
    return f"[...document.querySelectorAll('.job[data-state={state}] h3')].find(h => h.textContent === '{title}')"


async def tab_to(page: Page, name: str) -> None:
    for _ in range(MOST_TABS):
        if (await page.focus()).name == name:
            return
        await page.press("Tab")
    pytest.fail(f"Tab does not lead to {name}")


async def wait_for_refresh(page: Page) -> None:
    """Until the page has asked for all jobs after what was done until now."""
    refreshes = await page.evaluate(REFRESHES)
    await page.wait_until(f"{REFRESHES} > {refreshes + 1}")


async def test_tab_leads_through_the_form_in_the_order_of_the_page(page: Page, up: UpProcess):
    await page.open(up.url)
    await page.wait_until(FORM_IS_READY)
    await tab_to(page, "Prompt of clip 1")
    for role, name in FORM:
        assert await page.focus() == Focus(role, name, is_outlined=True)
        await page.press("Tab")


async def test_a_reel_is_written_chosen_and_submitted_without_a_pointer(page: Page, up: UpProcess):
    await page.open(up.url)
    await page.wait_until(FORM_IS_READY)
    await tab_to(page, "Prompt of clip 1")
    await page.write("written by keyboard")
    await page.press("Enter")
    await page.write("the sea")
    await tab_to(page, "Aspect ratio")
    await page.press("ArrowDown")
    chosen = await page.evaluate("document.getElementById('aspect').value")
    await tab_to(page, "Seconds per clip")
    await page.press("Enter")
    await page.wait_until("document.querySelector('.job')")
    with up.client() as phoenix:
        reel = phoenix.list_jobs().data[0].request
    assert isinstance(reel, ResolvedReel)
    assert [clip.prompt for clip in reel.clips] == ["written by keyboard", "the sea"]
    assert chosen == await page.evaluate("document.getElementById('aspect').options[1].value")
    assert chosen == reel.aspect_ratio


async def test_the_focus_stays_at_generate_when_the_reel_is_submitted(page: Page, up: UpProcess):
    await page.open(up.url)
    await page.wait_until(FORM_IS_READY)
    await tab_to(page, "Prompt of clip 1")
    await page.write("stays")
    await tab_to(page, "Generate")
    await page.press("Enter")
    await page.wait_until("document.querySelector('.job') && !document.querySelector('#clips textarea').value")
    assert await page.focus() == Focus("button", "Generate", is_outlined=True)


async def test_after_cancel_the_focus_is_at_retry_and_after_retry_at_cancel(page: Page, up: UpProcess):
    submit(up, "steered")
    await page.open(up.url)
    await page.wait_until(card("steered", "running"))
    await tab_to(page, "Cancel steered")
    await page.press("Enter")
    await page.wait_until(card("steered", "canceled"))
    assert await page.focus() == Focus("button", "Retry steered", is_outlined=True)
    await page.press("Enter")
    await page.wait_until(f"!{card('steered', 'canceled')}")
    assert await page.focus() == Focus("button", "Cancel steered", is_outlined=True)


async def test_a_key_that_is_held_down_cancels_and_does_not_retry(page: Page, up: UpProcess):
    submit(up, "held")
    await page.open(up.url)
    await page.wait_until(card("held", "running"))
    await tab_to(page, "Cancel held")
    await page.press("Enter", is_held=True)
    await page.wait_until(card("held", "canceled"))
    await page.press("Enter", is_held=True, is_repeated=True)
    await wait_for_refresh(page)
    assert await page.focus() == Focus("button", "Retry held", is_outlined=True)


async def test_a_key_that_is_held_down_asks_and_does_not_delete(page: Page, up: UpProcess):
    [job] = submit(up, "asked")
    with up.client() as phoenix:
        phoenix.cancel(job.id)
    await page.open(up.url)
    await page.wait_until(card("asked", "canceled"))
    await tab_to(page, "Delete asked")
    await page.press("Enter", is_held=True)
    await page.press("Enter", is_held=True, is_repeated=True)
    await wait_for_refresh(page)
    assert await page.focus() == Focus("button", "Delete for good? asked", is_outlined=True)


async def test_escape_takes_the_deletion_back(page: Page, up: UpProcess):
    [job] = submit(up, "kept")
    with up.client() as phoenix:
        phoenix.cancel(job.id)
    await page.open(up.url)
    await page.wait_until(card("kept", "canceled"))
    await tab_to(page, "Delete kept")
    await page.press("Enter")
    assert (await page.focus()).name == "Delete for good? kept"
    await page.press("Escape")
    assert await page.focus() == Focus("button", "Delete kept", is_outlined=True)


async def test_after_a_deletion_the_focus_is_at_the_job_below(page: Page, up: UpProcess):
    jobs = submit(up, "below", "deleted")
    with up.client() as phoenix:
        for job in jobs:
            phoenix.cancel(job.id)
    await page.open(up.url)
    await page.wait_until(f"{card('below', 'canceled')} && {card('deleted', 'canceled')}")
    await tab_to(page, "Delete deleted")
    await page.press("Enter", "Enter")
    await page.wait_until(f"!{card('deleted', 'canceled')}")
    assert await page.focus() == Focus("button", "Retry below", is_outlined=True)


async def test_arrow_keys_choose_which_jobs_are_shown(page: Page, up: UpProcess):
    submit(up, "runs", "waits")
    await page.open(up.url)
    await page.wait_until(f"{card('runs', 'running')} && {card('waits', 'queued')}")
    await tab_to(page, "Show jobs in state")
    # Past the state `held`.
    await page.press("ArrowDown", "ArrowDown")
    await page.wait_until(f"{card('waits', 'queued')} && !{card('runs', 'running')}")
    await page.press("ArrowDown")
    await page.wait_until(f"!{card('waits', 'queued')} && {card('runs', 'running')}")
    assert await page.focus() == Focus("combobox", "Show jobs in state", is_outlined=True)


async def test_the_first_tab_leads_past_the_form_to_the_newest_job(page: Page, up: UpProcess):
    submit(up, "newest")
    await page.open(up.url)
    await page.wait_until(card("newest", "running"))
    await page.press("Tab")
    assert await page.focus() == Focus("link", "Skip to the jobs", is_outlined=True)
    await page.press("Enter", "Tab")
    assert await page.focus() == Focus("button", "Cancel newest", is_outlined=True)


async def test_when_there_are_no_older_jobs_left_the_focus_is_at_the_first_that_came(page: Page, up: UpProcess):
    jobs = submit(up, *(f"of many {number}" for number in range(30)))
    await page.open(up.url)
    await page.wait_until("document.querySelectorAll('.job').length === 20")
    await tab_to(page, "Show older jobs")
    await page.press("Enter")
    await page.wait_until("document.querySelectorAll('.job').length > 20")
    first = jobs[-21].clips[0].prompt
    assert await page.focus() == Focus("button", f"Cancel {first}", is_outlined=True)
