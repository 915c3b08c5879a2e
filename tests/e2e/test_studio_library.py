"""Files in the studio: they guide clips of their own, are uploaded once and used often, and have a library."""

import asyncio
import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.chromium import Page
from fixtures.studio_form import READY, write_prompts
from fixtures.up_process import UpProcess
from phoenix.contract import ClipRequest, Job, ReelRequest, ResolvedReel, SoundtrackRequest

pytestmark = pytest.mark.e2e

CATALOG = """
[[models]]
id = "animatic"
conditions = { first_frame = {}, keyframe = { strength = { minimum = 0, maximum = 1, default = 0.5 } } }
"""
GUIDES = """[...document.querySelectorAll('#clips > li')].map(card =>
  [...card.querySelectorAll('.guide')].map(guide => [guide.querySelector('.guide-name').textContent,
    guide.querySelector('select').hidden ? '' : guide.querySelector('select').value]))"""
FILES = "[...document.querySelectorAll('#library-files h3')].map(title => title.textContent)"
DELETE = "document.querySelector('#library-files .actions button:last-child')"
SUBMITTED = "document.querySelector('.job') && !document.querySelector('#clips textarea').value"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    folder = tmp_path_factory.mktemp("up")
    (folder / "catalog.toml").write_text(CATALOG)
    with closing(UpProcess(folder, PHOENIX_ENGINE__CATALOG_FILE=str(folder / "catalog.toml"))) as opened:
        opened.wait_until_ready()
        yield opened


@pytest.fixture
async def studio(page: Page, up: UpProcess) -> Page:
    await page.open(up.url)
    await page.wait_until(READY)
    return page


def newest(up: UpProcess) -> ResolvedReel:
    with up.client() as phoenix:
        request = phoenix.list_jobs().data[0].request
    assert isinstance(request, ResolvedReel)
    return request


def upload(up: UpProcess, file: Path, name: str) -> str:
    with up.client() as phoenix:
        return phoenix.upload(shutil.copy(file, up.data_dir / name)).id


async def drop(page: Page, card: int, file: Path, kind: str = "image/png") -> None:
    """As from a window of the desktop."""
    data = await asyncio.to_thread(lambda: base64.b64encode(file.read_bytes()).decode())
    await page.evaluate(
        f"""(data => {{
          const bytes = Uint8Array.from(atob('{data}'), letter => letter.charCodeAt(0));
          data.items.add(new File([bytes], {json.dumps(file.name)}, {{ type: '{kind}', lastModified: 1 }}));
          for (const name of ['dragover', 'drop']) document.querySelectorAll('#clips > li')[{card}].dispatchEvent(
            new DragEvent(name, {{ dataTransfer: data, bubbles: true, cancelable: true }}));
        }})(new DataTransfer())"""
    )


def button(label: str) -> str:
    return f"document.querySelector('[aria-label=\"{label}\"]')"


async def test_a_file_that_is_dropped_on_a_card_guides_this_clip_alone(studio: Page, up: UpProcess, png_file: Path):
    await write_prompts(studio, "one", "two", "three")
    await drop(studio, 0, png_file)
    await studio.wait_until(f"{GUIDES}[0][0]?.[1] === 'first_frame'")
    await studio.evaluate(f"{button('From the clip before, for clip 2')}.click()")
    await studio.wait_until("document.querySelector('.guide img')?.complete")
    await studio.evaluate("document.getElementById('new').requestSubmit()")
    await studio.wait_until(SUBMITTED)
    first, second, third = newest(up).clips
    assert [(each.role, each.source.artifact_id is not None) for each in first.conditions] == [("first_frame", True)]
    assert [(each.role, each.source.previous_clip) for each in second.conditions] == [("first_frame", True)]
    assert third.conditions == []
    assert studio.complaints == []


async def test_one_file_on_two_cards_is_uploaded_once_and_each_takes_another_role(
    studio: Page, up: UpProcess, png_file: Path
):
    await write_prompts(studio, "one", "two")
    for card in (0, 1, 1):
        await drop(studio, card, png_file)
    await studio.wait_until(f"{GUIDES}[0].length === 1 && {GUIDES}[1].every(([, role]) => role)")
    assert await studio.evaluate(GUIDES) == [
        [[png_file.name, "first_frame"]],
        [[png_file.name, "first_frame"], [png_file.name, "keyframe"]],
    ]
    await drop(studio, 1, png_file)
    await studio.wait_until("document.querySelector('#clips > li:nth-child(2) [role=status]').textContent")
    note = "document.querySelector('#clips > li:nth-child(2) [role=status]').textContent"
    await studio.wait_until(f"{note} === '{png_file.name}: the clip has no room for another picture.'")
    await studio.evaluate("document.getElementById('new').requestSubmit()")
    await studio.wait_until(SUBMITTED)
    sources = {each.source.artifact_id for clip in newest(up).clips for each in clip.conditions}
    assert len(sources) == 1
    assert newest(up).clips[1].conditions[1].strength == 0.5


async def test_a_card_takes_only_what_the_model_takes(studio: Page, wav_file: Path):
    await drop(studio, 0, wav_file, "audio/wav")
    await studio.wait_until("document.querySelector('#clips [role=status]').textContent")
    note = "document.querySelector('#clips [role=status]').textContent"
    assert await studio.evaluate(note) == f"{wav_file.name}: the model takes no sound here."
    assert await studio.evaluate(GUIDES) == [[]]
    await studio.evaluate("document.getElementById('model').value = 'wan-2.1-t2v-1.3b'")
    await studio.evaluate("document.getElementById('model').dispatchEvent(new Event('change'))")
    assert await studio.evaluate(f"{button('Add a file to clip 1')}.closest('.actions').hidden")


async def test_an_earlier_upload_is_picked_by_keyboard_survives_a_reload_and_is_removed(
    studio: Page, up: UpProcess, png_file: Path
):
    upload(up, png_file, "harbor.png")
    await write_prompts(studio, "one")
    await studio.evaluate(f"{button('Earlier uploads for clip 1')}.focus()")
    await studio.press("Enter")
    await studio.wait_until("document.getElementById('picker-files').textContent.includes('harbor.png')")
    await studio.press("Tab", "Tab")
    assert (await studio.focus()).name == "harbor.png"
    await studio.press("Enter")
    await studio.wait_until(f"{GUIDES}[0][0]?.[1] === 'first_frame'")
    assert (await studio.focus()).name == "Earlier uploads for clip 1"
    await studio.evaluate("window.isOld = true")
    await studio.send("Page.reload")
    await studio.wait_until(f"!window.isOld && {READY} && {GUIDES}[0]?.[0]?.[0] === 'harbor.png'")
    await studio.evaluate(f"{button('Remove harbor.png from clip 1')}.focus()")
    await studio.press("Enter")
    assert await studio.evaluate(GUIDES) == [[]]
    assert (await studio.focus()).name == "Add a file to clip 1"
    assert studio.complaints == []


async def test_the_library_finds_a_file_and_uses_it_in_the_form(
    studio: Page, up: UpProcess, png_file: Path, wav_file: Path
):
    picture, sound = upload(up, png_file, "red lighthouse.png"), upload(up, wav_file, "waves.wav")
    await studio.evaluate("location.hash = '#library'")
    await studio.wait_until(f"{FILES}.length > 1")
    assert "in" in await studio.evaluate("document.getElementById('library-storage').textContent")
    await studio.evaluate("document.getElementById('library-words').value = 'LIGHTHOUSE'")
    await studio.evaluate("document.getElementById('library-search').requestSubmit()")
    await studio.wait_until(f"{FILES}.join() === 'red lighthouse.png'")
    await studio.evaluate(f"{button('Use as first picture: red lighthouse.png')}.click()")
    await studio.wait_until(f"{GUIDES}[0][0]?.[0] === 'red lighthouse.png'")
    assert (await studio.focus()).name == "Prompt of clip 1"

    await studio.evaluate("location.hash = '#library'")
    await studio.evaluate("document.getElementById('library-words').value = 'waves'")
    await studio.evaluate("document.getElementById('library-search').requestSubmit()")
    await studio.wait_until(f"{FILES}.join() === 'waves.wav'")
    await studio.evaluate(f"{button('Use as soundtrack: waves.wav')}.click()")
    await studio.wait_until("!document.getElementById('home').hidden")
    await write_prompts(studio, "one")
    await studio.evaluate("document.getElementById('new').requestSubmit()")
    await studio.wait_until(SUBMITTED)
    made = newest(up)
    assert made.soundtrack is not None
    assert (made.soundtrack.artifact_id, made.clips[0].conditions[0].source.artifact_id) == (sound, picture)


def hold(up: UpProcess, sound: str) -> Job:
    """A job that stays unfinished, and needs the sound."""
    with up.client() as phoenix:
        clips, track = [ClipRequest(prompt="a red balloon", duration_s=1)], SoundtrackRequest(artifact_id=sound)
        return phoenix.submit_reel(ReelRequest(clips=clips, soundtrack=track, hold="draft"))


async def test_a_file_is_deleted_unless_a_job_needs_it(studio: Page, up: UpProcess, wav_file: Path):
    job = hold(up, upload(up, wav_file, "needed.wav"))
    upload(up, wav_file, "needless.wav")
    await studio.evaluate("document.getElementById('library-words').value = 'need'")
    await studio.evaluate("location.hash = '#library'")
    await studio.wait_until(f"{FILES}.join() === 'needless.wav,needed.wav'")
    await studio.evaluate(f"{DELETE}.focus()")
    await studio.press("Enter", "Enter")
    await studio.wait_until(f"{FILES}.join() === 'needed.wav'")
    assert (await studio.focus()).name == "needed.wav"
    await studio.evaluate(f"{DELETE}.focus()")
    await studio.press("Enter", "Enter")
    trouble = "document.querySelector('#library-files .trouble').textContent"
    await studio.wait_until(f"{trouble}.includes('{job.id}')")
    assert await studio.evaluate(FILES) == ["needed.wav"]


async def test_a_template_is_saved_in_the_browser_used_and_deleted(studio: Page):
    await write_prompts(studio, "my first", "my second")
    await studio.evaluate("document.getElementById('resolution').value = '240p'")
    await studio.evaluate("document.getElementById('template-name').value = 'Mine'")
    await studio.evaluate("document.getElementById('template-save').requestSubmit()")
    await studio.evaluate("sessionStorage.clear()")
    await studio.evaluate("window.isOld = true")
    await studio.send("Page.reload")
    await studio.wait_until(f"!window.isOld && {READY}")

    written = "[...document.querySelectorAll('#clips textarea[aria-label]')].map(area => area.value)"
    await studio.evaluate(f"{button('Use A day in the city, for phones')}.click()")
    assert len(await studio.evaluate(written)) == 4
    assert await studio.evaluate("document.getElementById('aspect').value") == "9:16"
    await studio.evaluate(f"{button('Use Mine')}.click()")
    assert await studio.evaluate(written) == ["my first", "my second"]
    assert await studio.evaluate("document.getElementById('resolution').value") == "240p"
    for name in ("Delete Mine", "Delete? Mine"):
        await studio.evaluate(f"{button(name)}.click()")
    assert await studio.evaluate(f"{button('Use Mine')} === null")
    assert studio.complaints == []
