"""The form for a new reel: cards of clips, every parameter of the model, a reload, uploads, and the request as code."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fixtures import child_processes
from fixtures.chromium import Page
from fixtures.no_skips import require_command
from fixtures.studio_form import PROMPT, READY, submit, write_prompts
from fixtures.up_process import UpProcess
from phoenix.contract import ClipRequest, Job, ReelRequest, ResolvedReel, Transition

pytestmark = pytest.mark.e2e

PROMPTS = "[...document.querySelectorAll('#clips textarea[aria-label]')].map(area => area.value)"
PLAN = "document.getElementById('plan').textContent"
SUBMITTED = "document.querySelector('.job') && !document.querySelector('#clips textarea').value"
AWKWARD = 'it\'s a "red" $HOME `balloon` \\ über 海'


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with closing(UpProcess(tmp_path_factory.mktemp("up"))) as opened:
        opened.wait_until_ready()
        yield opened


@pytest.fixture
async def studio(page: Page, up: UpProcess) -> Page:
    await page.open(up.url)
    await page.wait_until(READY)
    return page


def newest(up: UpProcess) -> Job:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0]


def resolved(job: Job) -> ResolvedReel:
    assert isinstance(job.request, ResolvedReel)
    return job.request


async def fill(page: Page, element: str, value: str) -> None:
    """An element of the form, by its id or by a selector."""
    found = element if element[0] in "#[" else f"#{element}"
    await page.evaluate(
        f"""(field => {{ field.value = '{value}';
        for (const name of ['input', 'change']) field.dispatchEvent(new Event(name, {{ bubbles: true }})) }})
        (document.querySelector("{found}"))"""
    )


async def test_enter_begins_the_next_clip_and_backspace_removes_an_empty_one(studio: Page):
    await studio.evaluate(f"{PROMPT}.focus()")
    await studio.write("one")
    await studio.press("Enter")
    await studio.write("two")
    await studio.press("Enter")
    assert await studio.evaluate(PROMPTS) == ["one", "two", ""]
    await studio.press("Backspace")
    assert await studio.evaluate(PROMPTS) == ["one", "two"]
    assert (await studio.focus()).name == "Prompt of clip 2"


async def test_pasted_lines_are_clips(studio: Page):
    await studio.evaluate(
        f"""(data => {{ data.setData('text', 'one\\n\\ntwo\\nthree'); {PROMPT}.dispatchEvent(
        new ClipboardEvent('paste', {{ clipboardData: data, cancelable: true }})) }})(new DataTransfer())"""
    )
    assert await studio.evaluate(PROMPTS) == ["one", "two", "three"]


async def test_a_clip_is_moved_by_its_grip(studio: Page):
    await write_prompts(studio, "one", "two", "three")
    await studio.evaluate("document.querySelector('#clips .grip').focus()")
    await studio.press("ArrowDown", "ArrowDown")
    assert await studio.evaluate(PROMPTS) == ["two", "three", "one"]
    assert (await studio.focus()).name == "Move clip 3: arrow keys"


async def test_every_parameter_reaches_the_request(studio: Page, up: UpProcess):
    clip = {"[data-name=duration_s]": "1.5", "[data-name=seed]": "41", "[data-name=takes]": "2"}
    for element, value in clip.items():
        await fill(studio, f"#clips {element}", value)
    reel = {"title": "All of it", "negative": "text", "steps": "7", "guidance": "3.5", "seed": "5", "duration": "1"}
    for element, value in reel.items():
        await fill(studio, element, value)
    await submit(studio, "one", "two")
    await studio.wait_until(SUBMITTED)
    job = newest(up)
    first, second = resolved(job).clips
    assert job.title == "All of it"
    assert [(each.steps, each.guidance_scale, each.negative_prompt) for each in (first, second)] == [
        (7, 3.5, "text")
    ] * 2
    assert (first.seed, first.duration_s, first.takes) == (41, 1.5, 2)
    assert (second.seed, second.duration_s, second.takes) == (6, 1, 1)
    assert studio.complaints == []


async def test_the_plan_says_what_the_reel_will_be(studio: Page):
    await fill(studio, "duration", "2")
    await fill(studio, "crossfade", "0.5")
    await fill(studio, "#clips [data-name=takes]", "3")
    await write_prompts(studio, "one", "two")
    assert await studio.evaluate(PLAN) == (
        "2 clips, 4 renders · a reel of 3.5 s · 854\u00d7480 at 16 fps · 80 steps for 8.0 s of video"
    )


ESTIMATE = "document.getElementById('estimate').textContent"
BUTTON_TOP = "document.querySelector('#new > .primary').offsetTop"


async def test_the_server_says_what_the_reel_takes_and_nothing_moves(studio: Page, up: UpProcess):
    with up.client() as phoenix:
        jobs = len(phoenix.list_jobs().data)
    before = await studio.evaluate(BUTTON_TOP)
    await write_prompts(studio, "one")
    await studio.wait_until(ESTIMATE)
    assert await studio.evaluate(BUTTON_TOP) == before
    assert await studio.evaluate(f"/device time|No clip of animatic/.test({ESTIMATE})")
    await fill(studio, "duration", "99")
    await studio.wait_until(f"{ESTIMATE}.startsWith('It would be refused: /duration_s')")
    assert await studio.evaluate(BUTTON_TOP) == before
    await fill(studio, "duration", "1")
    await studio.wait_until(f"!{ESTIMATE}.includes('refused')")
    with up.client() as phoenix:
        assert len(phoenix.list_jobs().data) == jobs


async def test_what_was_written_survives_a_reload(studio: Page):
    await write_prompts(studio, "one", "two")
    await fill(studio, "resolution", "240p")
    await fill(studio, "quality", "draft")
    await fill(studio, "#clips [data-name=seed]", "3")
    await studio.evaluate("window.isOld = true")
    await studio.send("Page.reload")
    await studio.wait_until(f"!window.isOld && {READY} && {PROMPTS}.length === 2")
    values = "['resolution', 'quality'].map(id => document.getElementById(id).value)"
    assert await studio.evaluate(PROMPTS) == ["one", "two"]
    assert await studio.evaluate(values) == ["240p", "draft"]
    assert await studio.evaluate("document.querySelector('#clips [data-name=seed]').value") == "3"


async def test_the_settings_of_a_job_used_again_make_the_same_clips(page: Page, up: UpProcess):
    clips = [ClipRequest(prompt="one", negative_prompt="fog"), ClipRequest(prompt="two\nlines", duration_s=2, takes=2)]
    fade = Transition(kind="crossfade", duration_s=0.25)
    request = ReelRequest(
        clips=clips, duration_s=1, resolution="240p", quality="draft", seed=9, steps=3, transition=fade
    )
    with up.client() as phoenix:
        job = phoenix.submit_reel(request)
        for _ in phoenix.watch(job.id):
            pass
    await page.open(f"{up.url}/#job={job.id}")
    await page.wait_until("!document.getElementById('reel-page').hidden && document.querySelector('.clip-card video')")
    await page.evaluate("document.getElementById('reel-again').click()")
    await page.wait_until(f"{PROMPTS}.length === 2")
    await page.evaluate("document.getElementById('new').requestSubmit()")
    await page.wait_until(SUBMITTED)
    again = newest(up)
    assert again.id != job.id
    assert all(clip.reused for clip in again.clips)
    assert resolved(again).transition == resolved(job).transition


async def test_an_upload_is_used_again(page: Page, up: UpProcess, wav_file: Path):
    with up.client() as phoenix:
        uploaded = phoenix.upload(wav_file)
    await page.open(up.url)
    await page.wait_until("document.querySelectorAll('#audio-kept option').length > 1")
    await fill(page, "audio-kept", uploaded.id)
    await submit(page, "one")
    await page.wait_until(SUBMITTED)
    soundtrack = resolved(newest(up)).soundtrack
    assert soundtrack is not None
    assert soundtrack.artifact_id == uploaded.id


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
async def test_the_code_makes_the_reel(studio: Page, up: UpProcess, tmp_path: Path, language: str):
    await write_prompts(studio, AWKWARD, language)
    await fill(studio, "duration", "1")
    await studio.evaluate("document.getElementById('code').open = true")
    await fill(studio, "code-language", language)
    code = await studio.evaluate("document.getElementById('code-text').textContent")
    runners = {
        "curl": [require_command("bash")],
        "python": [sys.executable],
        "javascript": [require_command("node")],
    }
    script = tmp_path / {"curl": "reel.sh", "python": "reel.py", "javascript": "reel.mjs"}[language]
    script.write_text(code)
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = child_processes.run([*runners[language], str(script)], check=False, cwd=tmp_path, **output)
    assert done.returncode == 0, done.stdout
    assert [clip.prompt for clip in newest(up).clips] == [AWKWARD, language]
    assert "Bearer" not in code or "PHOENIX_API_KEY" in code
