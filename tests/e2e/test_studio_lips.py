"""Faces that speak, in the studio: the form for a lip-sync, and the switch on the card of a clip."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fixtures.chromium import Page
from fixtures.speech import tone
from fixtures.studio_form import READY, write_prompts
from fixtures.up_process import UpProcess
from phoenix.contract import ArtifactKind, FaceRegion, ResolvedLipsync, ResolvedReel

pytestmark = pytest.mark.e2e

BOX = "document.querySelector('.face-box')"
NUMBERS = "[...document.querySelectorAll('#lips-new .face .numbers input')].map(input => Number(input.value))"


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


def newest(up: UpProcess) -> Any:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0].request


async def choose(page: Page, element: str, file: Path) -> None:
    found = await page.send("Runtime.evaluate", expression=f"document.getElementById('{element}')")
    await page.send("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])


async def drag(page: Page, *points: tuple[float, float]) -> None:
    """Draws over the picture: each point is a share of its width and of its height."""
    names = ("pointerdown", *["pointermove"] * (len(points) - 1))
    for name, (x, y) in zip(names, points, strict=True):
        await page.evaluate(
            f"""(stage => {{ const seen = stage.querySelector('img').getBoundingClientRect();
              stage.setPointerCapture = () => {{}};
              stage.dispatchEvent(new PointerEvent('{name}', {{ bubbles: true, pointerId: 1, button: 0,
                clientX: seen.left + {x} * seen.width, clientY: seen.top + {y} * seen.height }})) }})
            (document.querySelector('.face-stage'))"""
        )
    await page.evaluate("document.querySelector('.face-stage').dispatchEvent(new PointerEvent('pointerup'))")


async def test_a_box_that_is_drawn_on_the_picture_is_where_the_face_speaks(studio: Page, up: UpProcess, tmp_path: Path):
    Image.new("RGB", (320, 240), (214, 170, 146)).save(tmp_path / "face.png")
    (tmp_path / "voice.wav").write_bytes(tone(0.5))
    await studio.evaluate("document.getElementById('lips').open = true")
    await studio.wait_until("document.getElementById('lips-model').value")
    await choose(studio, "lips-face", tmp_path / "face.png")
    await studio.wait_until(
        "document.querySelector('.face-stage img')?.complete && !document.querySelector('.face').hidden"
    )
    await drag(studio, (0.25, 0.25), (0.5, 0.5), (0.75, 0.75))
    assert await studio.evaluate(NUMBERS) == pytest.approx([80, 60, 160, 120], abs=2)
    assert await studio.evaluate(f"!{BOX}.hidden")
    await choose(studio, "lips-sound", tmp_path / "voice.wav")
    await studio.evaluate("document.getElementById('lips-new').requestSubmit()")
    await studio.wait_until("document.querySelector('.job') && !document.getElementById('lips-face').files.length")
    request = newest(up)
    assert isinstance(request, ResolvedLipsync)
    assert request.model == "drawn-mouth"
    assert request.box is not None
    assert (request.box.width, request.box.height) == (pytest.approx(160, abs=2), pytest.approx(120, abs=2))
    assert studio.complaints == []


async def test_a_refused_lip_sync_says_why_and_leaves_no_upload(studio: Page, up: UpProcess, tmp_path: Path):
    Image.new("RGB", (64, 64)).save(tmp_path / "face.png")
    (tmp_path / "voice.wav").write_bytes(tone(0.5))
    with up.client() as phoenix:
        before = len(phoenix.list_artifacts(kind=ArtifactKind.UPLOAD).data)
    await choose(studio, "lips-face", tmp_path / "face.png")
    await choose(studio, "lips-sound", tmp_path / "voice.wav")
    await studio.evaluate("document.getElementById('lips-new').requestSubmit()")
    await studio.wait_until("document.querySelector('#lips-problem code')?.textContent === '/box'")
    await studio.wait_until("document.getElementById('lips-submit').getAttribute('aria-disabled') === 'false'")
    with up.client() as phoenix:
        assert len(phoenix.list_artifacts(kind=ArtifactKind.UPLOAD).data) == before


async def test_the_switch_on_a_card_moves_the_lips_of_this_clip(studio: Page, up: UpProcess):
    await write_prompts(studio, "a face", "the sea")
    await studio.evaluate(
        """(card => {
          const set = (name, value) => { const field = card.querySelector(`[data-name="${name}"]`); field.value = value;
            field.dispatchEvent(new Event('input', { bubbles: true })); };
          set('narration', 'Hello.');
          card.querySelector('[data-name="lip_sync"]').click();
          set('face', '20, 10, 64, 64');
        })(document.querySelector('#clips > li'))"""
    )
    assert await studio.evaluate("!document.querySelector('#clips [data-name=face]').closest('label').hidden")
    await studio.evaluate("document.getElementById('new').requestSubmit()")
    await studio.wait_until("document.querySelector('.job') && !document.querySelector('#clips textarea').value")
    request = newest(up)
    assert isinstance(request, ResolvedReel)
    first, second = [clip.lip_sync for clip in request.clips]
    assert first is not None
    assert (first.box, first.follows) == (FaceRegion(x=20, y=10, width=64, height=64), "narration")
    assert second is None
