"""From an idea to a final in the studio: a storyboard, a reel that is watched as it grows, and its edited version.

The language model and the voice are scripted servers. Everything else is real.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest

from fixtures.chromium import Page
from fixtures.llm_server import LlmServer, script_of
from fixtures.llm_server import spoken as written
from fixtures.scripted_server import ScriptedServer
from fixtures.speech import SPEECH_PATH, VOICE_HZ, loudness_of, spoken
from fixtures.studio_form import READY
from fixtures.up_process import UpProcess
from phoenix.contract import Job

pytestmark = pytest.mark.e2e

CLIP_S = 2
PROMPTS = ["a red balloon leaves a harbour", "the balloon over the roofs", "the balloon above the sea"]
CAPTIONS = ["At dawn", "", "Free"]
NARRATION = ["It leaves.", "", "Nobody holds it."]
CARDS = "[...document.querySelectorAll('#edit-clips .clip-card')]"
STATE = "document.getElementById('reel-state').textContent"
VIDEO = "document.querySelector('#reel-player video')"
WRITTEN = "[...document.querySelectorAll('#clips textarea[aria-label]')].map(area => area.value)"


def storyboard(*prompts: str) -> dict[str, Any]:
    texts = zip(prompts, CAPTIONS, NARRATION, strict=True)
    clips = [
        {"prompt": prompt, "characters": [], "duration_s": CLIP_S, "caption": caption, "narration": narration}
        for prompt, caption, narration in texts
    ]
    return script_of(clips=clips, title="The balloon")


@pytest.fixture
def up(tmp_path: Path, llm_server: LlmServer, scripted_server: ScriptedServer) -> Iterator[UpProcess]:
    """A server with a language model and a voice, whose clips take a moment."""
    settings = {
        "PHOENIX_LLM__BASE_URL": llm_server.url,
        "PHOENIX_LLM__MODEL": "scripted",
        "PHOENIX_TTS__BASE_URL": f"{scripted_server.url}/v1",
        "PHOENIX_TTS__MODEL": "tts",
        "PHOENIX_TTS__VOICE": "alloy",
        "PHOENIX_ANIMATIC__SECONDS_PER_STEP": "0.3",
    }
    with closing(UpProcess(tmp_path, **settings)) as opened:
        opened.wait_until_ready()
        yield opened


async def test_an_idea_becomes_a_captioned_and_narrated_reel_that_is_found_again(
    page: Page, up: UpProcess, llm_server: LlmServer, scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    llm_server.script = [
        written(storyboard(*PROMPTS[:2], "the balloon bursts"), holds_after=7),
        written(storyboard(*PROMPTS)),
    ]
    scripted_server.otherwise = spoken(1.0)
    await page.open(up.url)
    await page.wait_until(READY)
    await write_a_storyboard(page, llm_server)
    await page.evaluate("document.getElementById('resolution').value = '240p'")
    await send(page, "new")
    await page.wait_until("document.querySelector('.job')")
    first = newest(up)

    await watch_it_grow(page, up, first)
    await re_roll_the_second_clip(page)

    final = newest(up)
    assert final.edited_from == first.id
    assert [clip.reused for clip in final.clips] == [True, False, True]
    assert [clip.narration for clip in final.clips] == NARRATION
    with up.client() as phoenix:
        expect_captions_and_speech(phoenix.download(final, tmp_path / "final.mp4"))
    # An equal narration of an earlier version is not spoken again.
    assert len(scripted_server.received_at(SPEECH_PATH)) == 2
    await find_it_again(page, final)
    # A playlist that is asked for before its first segments are there is answered with 409.
    assert [said for said in page.complaints if "playlist.m3u8" not in said] == []


def newest(up: UpProcess) -> Job:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0]


async def send(page: Page, form: str) -> None:
    await page.evaluate(f"document.getElementById('{form}').requestSubmit()")


async def fill(page: Page, field: str, value: str) -> None:
    await page.evaluate(f"document.getElementById('{field}').value = {json.dumps(value)}")


async def write_a_storyboard(page: Page, llm_server: LlmServer) -> None:
    """Seen while it is written, and refined by one message."""
    await fill(page, "idea", "A red balloon leaves a harbour and finds the sea.")
    for wish in ("story-caption", "story-narrate"):
        await page.evaluate(f"document.getElementById('{wish}').click()")
    await send(page, "story-new")
    await page.wait_until("document.querySelector('#story-written li')?.textContent.startsWith('a red')")
    llm_server.go_on.set()
    await page.wait_until(f"{WRITTEN}[2]?.includes('bursts')")
    await fill(page, "story-wish", "it must not burst")
    await send(page, "story-refine")
    await page.wait_until(f"{WRITTEN}[2] === '{PROMPTS[2]}.'")


async def watch_it_grow(page: Page, up: UpProcess, job: Job) -> None:
    await page.evaluate(f"location.hash = '#job={job.id}'")
    watch = "document.getElementById('reel-watch')"
    await page.wait_until(f"!document.getElementById('reel-page').hidden && !{watch}.hidden")
    await page.evaluate(f"{watch}.click()")
    await page.wait_until(VIDEO)
    await page.evaluate(f"{VIDEO}.muted = true, {VIDEO}.play().catch(() => {{}})")
    await page.wait_until(f"{VIDEO}.currentTime > 0.3")
    with up.client() as phoenix:
        playing = phoenix.get_job(job.id)
    assert not playing.state.is_terminal
    assert playing.clips[-1].state != "succeeded"
    await page.wait_until(f"{STATE} === 'succeeded'")


async def re_roll_the_second_clip(page: Page) -> None:
    await page.wait_until(f"!document.getElementById('edit-fields').disabled && {CARDS}.length === 3")
    await page.evaluate(f"{CARDS}[1].querySelector('[aria-label^=\"Re-roll\"]').click()")
    assert await page.evaluate("document.getElementById('edit-plan').textContent") == "1 clip rendered, 2 reused"
    await send(page, "edit")
    await page.wait_until("document.querySelector('#reel-versions a[href^=\"#compare\"]')")
    await page.wait_until(f"{STATE} === 'succeeded'")


def expect_captions_and_speech(final: Path) -> None:
    """The captions are in the text track, and the voice is heard in the clips that have narration."""
    with av.open(str(final)) as container:
        track = b"".join(bytes(packet) for packet in container.demux(container.streams.subtitles[0]))
    assert [caption for caption in CAPTIONS if caption.encode() not in track] == []
    windows = loudness_of(final, VOICE_HZ, 0.5)
    per_clip = round(CLIP_S / 0.5)
    heard = [max(windows[start : start + per_clip]) > 0.01 for start in range(0, 3 * per_clip, per_clip)]
    assert heard == [True, False, True]


async def find_it_again(page: Page, final: Job) -> None:
    """By a word that was only spoken. The newest version comes first."""
    await page.evaluate("location.hash = ''")
    await fill(page, "search-words", "nobody")
    await send(page, "search")
    found = "[...document.querySelectorAll('#found a[href^=\"#job=\"]')].map(link => link.getAttribute('href'))"
    await page.wait_until(f"{found}.length === 2")
    assert (await page.evaluate(found))[0] == f"#job={final.id}"
