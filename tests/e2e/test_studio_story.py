"""Storyboards, search, and drafts that wait, in the studio."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from fixtures.chromium import Page
from fixtures.llm_server import LlmServer, refusal, script_of, spoken
from fixtures.studio_form import READY, submit
from fixtures.up_process import UpProcess
from phoenix.contract import ClipRequest, ReelRequest

pytestmark = pytest.mark.e2e

PROMPTS = "[...document.querySelectorAll('#clips textarea[aria-label]')].map(area => area.value)"
SEEDS = "[...document.querySelectorAll('#clips [data-name=seed]')].map(input => input.value)"
STATE = "document.getElementById('story-state').textContent"
FOUND = "[...document.querySelectorAll('#found h3')].map(title => title.textContent)"


@pytest.fixture(scope="module")
def llm() -> Iterator[LlmServer]:
    server = LlmServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, llm: LlmServer) -> Iterator[UpProcess]:
    settings = {"PHOENIX_LLM__BASE_URL": llm.url, "PHOENIX_LLM__MODEL": "scripted", "PHOENIX_LLM__MAX_RETRIES": "0"}
    with closing(UpProcess(tmp_path_factory.mktemp("up"), **settings)) as opened:
        opened.wait_until_ready()
        yield opened


@pytest.fixture
async def studio(page: Page, up: UpProcess) -> Page:
    await page.open(up.url)
    await page.wait_until(READY)
    return page


async def fill(page: Page, field: str, value: str) -> None:
    await page.evaluate(f"document.getElementById('{field}').value = {json.dumps(value)}")


async def send(page: Page, form: str) -> None:
    await page.evaluate(f"document.getElementById('{form}').requestSubmit()")


async def test_a_storyboard_is_seen_being_written_fills_the_form_is_refined_and_survives_a_reload(
    studio: Page, llm: LlmServer
):
    llm.script = [spoken(script_of("a balloon", "the sea"), holds_after=7), spoken(script_of("a balloon", "the moon"))]
    await fill(studio, "idea", "a balloon finds the sea")
    await send(studio, "story-new")
    await studio.wait_until("document.querySelector('#story-written li')?.textContent.startsWith('a ball')")
    assert await studio.evaluate(STATE) == "The storyboard is being written."
    llm.go_on.set()
    await studio.wait_until(f"{PROMPTS}.length === 2")
    before = await studio.evaluate(SEEDS)

    await fill(studio, "story-wish", "the moon instead")
    await send(studio, "story-refine")

    await studio.wait_until(f"{PROMPTS}[1] === 'the moon.'")
    after = await studio.evaluate(SEEDS)
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    await studio.evaluate("window.isBeforeReload = true, location.reload()")
    await studio.wait_until("!window.isBeforeReload && document.querySelectorAll('#story-talk li').length === 4")
    await studio.wait_until(f"{PROMPTS}[1] === 'the moon.'")
    assert studio.complaints == []


async def test_a_changed_form_goes_along_with_a_message(studio: Page, llm: LlmServer):
    llm.script = [spoken(script_of("a balloon")), spoken(script_of("my own words", "the end"))]
    await fill(studio, "idea", "a balloon")
    await send(studio, "story-new")
    await studio.wait_until(f"{PROMPTS}[0] === 'a balloon.'")
    await studio.evaluate("document.querySelector('#clips textarea').select()")
    await studio.write("my own words")
    await fill(studio, "story-wish", "an end")
    await send(studio, "story-refine")
    await studio.wait_until(f"{PROMPTS}.length === 2")
    assert (await studio.evaluate(PROMPTS))[0] == "my own words"


async def test_a_failure_is_explained_and_can_be_tried_again(studio: Page, llm: LlmServer):
    llm.script = [refusal(500), spoken(script_of("at last"))]
    await fill(studio, "idea", "a balloon")
    await send(studio, "story-new")
    await studio.wait_until(f"{STATE}.startsWith('UNAVAILABLE')")
    await studio.evaluate("document.getElementById('story-retry').click()")
    await studio.wait_until(f"{PROMPTS}[0] === 'at last.'")


async def test_writing_is_stopped_and_nothing_is_lost(studio: Page, llm: LlmServer):
    llm.go_on.clear()
    llm.script = [spoken(script_of("a balloon"), holds_after=2)]
    await fill(studio, "idea", "a balloon")
    await send(studio, "story-new")
    await studio.wait_until("document.querySelector('#story-talk li')")
    await studio.evaluate("document.getElementById('story-stop').click()")
    await studio.wait_until(f"{STATE}.startsWith('CANCELED')")
    assert await studio.evaluate("!document.getElementById('story-retry').hidden")


async def test_a_job_is_tagged_marked_and_found(studio: Page, up: UpProcess):
    with up.client() as phoenix:
        job = phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt="a green lighthouse", duration_s=1)]))
    await studio.evaluate(f"location.hash = '#job={job.id}'")
    await studio.wait_until(f"document.getElementById('reel-facts').textContent.includes('{job.id}')")
    await fill(studio, "reel-tags", "sea, dawn")
    await send(studio, "reel-tags-form")
    await studio.wait_until("document.getElementById('news').textContent === 'Done'")
    await studio.evaluate("location.hash = ''")
    await fill(studio, "search-words", "lighthouse #sea")
    await send(studio, "search")
    await studio.wait_until(f"{FOUND}.length === 1")
    assert await studio.evaluate("document.querySelector('#found .tags').textContent") == "seadawn"

    star = "document.querySelector('#found [aria-label^=Favorite]')"
    await studio.evaluate(f"{star}.click()")
    await studio.wait_until(f"{star}.getAttribute('aria-pressed') === 'true'")
    await fill(studio, "search-words", "")
    await studio.evaluate("document.getElementById('search-favorites').click()")
    await studio.wait_until("document.getElementById('found-title').textContent === '1 job'")
    assert await studio.evaluate(FOUND) == ["a green lighthouse"]
    await fill(studio, "search-words", "nowhere")
    await send(studio, "search")
    await studio.wait_until("document.getElementById('found-title').textContent === 'Nothing was found'")
    assert studio.complaints == []


async def test_a_reel_waits_for_its_draft_and_is_approved_on_its_page(studio: Page, up: UpProcess):
    await studio.evaluate("document.getElementById('hold').click()")
    await fill(studio, "duration", "1")
    await submit(studio, "a held reel")
    await studio.wait_until("document.querySelector('.job[data-state=held]')")
    with up.client() as phoenix:
        [job] = [job for job in phoenix.list_jobs().data if job.draft_job_id]
    await studio.evaluate(f"location.hash = '#job={job.id}'")
    approve = "document.getElementById('reel-approve')"
    await studio.wait_until(f"!{approve}.hidden && !document.getElementById('reel-page').hidden")
    await studio.evaluate(f"{approve}.click()")
    await studio.wait_until("document.getElementById('reel-state').textContent === 'succeeded'")
    assert await studio.evaluate(f"{approve}.hidden")
    link = "document.querySelector('#reel-versions a').getAttribute('href')"
    assert await studio.evaluate(link) == f"#job={job.draft_job_id}"
    assert studio.complaints == []


async def test_words_of_a_clip_are_changed_without_rendering(studio: Page, up: UpProcess):
    with up.client() as phoenix:
        clips = [ClipRequest(prompt="one", duration_s=1, caption="old"), ClipRequest(prompt="two", duration_s=1)]
        job = phoenix.submit_reel(ReelRequest(clips=clips))
        for _ in phoenix.watch(job.id):
            pass
    await studio.evaluate(f"location.hash = '#job={job.id}'")
    caption = "document.querySelector('#edit-clips [data-name=caption]')"
    await studio.wait_until(f"{caption}?.value === 'old' && !document.getElementById('edit-fields').disabled")
    await studio.evaluate(f"{caption}.select()")
    await studio.write("new")
    plan = "document.getElementById('edit-plan').textContent"
    assert await studio.evaluate(plan) == "0 clips rendered, 2 reused"
    await send(studio, "edit")
    await studio.wait_until("document.querySelector('#reel-versions a[href^=\"#compare\"]')")
    with up.client() as phoenix:
        edited = phoenix.list_jobs().data[0]
        for _ in phoenix.watch(edited.id):
            pass
        edited = phoenix.get_job(edited.id)
    assert [clip.caption for clip in edited.clips] == ["new", ""]
    assert all(clip.reused for clip in edited.clips)
