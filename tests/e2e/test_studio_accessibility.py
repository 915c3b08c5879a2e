"""axe-core finds nothing serious in the studio: each screen, light and dark, on a desktop and on a phone."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from PIL import Image

from fixtures.chromium import Page
from fixtures.client_tools import Tools
from fixtures.studio_form import READY, write_prompts
from fixtures.up_process import UpProcess
from phoenix.contract import ClipEdit, ClipRequest, EditRequest, ReelRequest

pytestmark = pytest.mark.e2e

WIDTHS = {"desktop": 1280, "phone": 390}
SERIOUS = """axe.run().then(({ violations }) => violations
  .filter(({ impact }) => impact === 'serious' || impact === 'critical')
  .map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))"""
IS_WIDER = "document.documentElement.scrollWidth > innerWidth"


@dataclass(frozen=True)
class Versions:
    url: str
    older: str
    newer: str


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versions]:
    """A server with two versions of a reel, the newer one with takes."""
    folder = tmp_path_factory.mktemp("up")
    picture = folder / "harbor.png"
    Image.new("RGB", (320, 180), "orange").save(picture)
    with closing(UpProcess(folder)) as up:
        up.wait_until_ready()
        clips = [ClipRequest(prompt="a red balloon", takes=2), ClipRequest(prompt="the sea")]
        with up.client() as phoenix:
            phoenix.upload(picture)
            older = phoenix.submit_reel(ReelRequest(clips=clips, duration_s=1, resolution="240p", tags=["sea"]))
            for _ in phoenix.watch(older.id):
                pass
            newer = phoenix.edit(older.id, EditRequest(clips=[ClipEdit(op="reroll", index=1)]))
            for _ in phoenix.watch(newer.id):
                pass
        yield Versions(up.url, older.id, newer.id)


@pytest.fixture(scope="module")
def axe(node_tools: Tools) -> str:
    return (node_tools.programs.parent / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(WIDTHS))
async def studio(page: Page, request: pytest.FixtureRequest, scheme: str) -> Page:
    width = WIDTHS[request.param]
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    await page.send("Emulation.setDeviceMetricsOverride", **metrics)
    await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    return page


async def faults(page: Page, axe: str) -> list[object]:
    await page.evaluate(axe)
    return [*await page.evaluate(SERIOUS), *(["wider than the window"] if await page.evaluate(IS_WIDER) else [])]


async def test_the_form_and_the_jobs(studio: Page, versions: Versions, axe: str):
    await studio.open(versions.url)
    await studio.wait_until(f"{READY} && document.querySelectorAll('.job').length === 2")
    await write_prompts(studio, "a red balloon", "the sea")
    await studio.evaluate("document.querySelectorAll('.side details').forEach(each => each.open = true)")
    await studio.evaluate("document.querySelector('[aria-label^=\"From the clip before\"]:not([hidden])').click()")
    await write_and_search(studio)
    await studio.wait_until("document.getElementById('estimate').textContent")
    assert await faults(studio, axe) == []


async def write_and_search(studio: Page) -> None:
    """A storyboard with its messages, and a list of jobs that were found, all with tags."""
    await studio.evaluate("document.getElementById('idea').value = 'a balloon'")
    await studio.evaluate("document.getElementById('story-new').requestSubmit()")
    await studio.evaluate("document.getElementById('search-words').value = '#sea'")
    await studio.evaluate("document.getElementById('search').requestSubmit()")
    await studio.wait_until("document.querySelectorAll('#story-talk li').length === 2")
    await studio.wait_until("document.querySelector('#found .tags li')")


async def test_a_reel_with_its_editor(studio: Page, versions: Versions, axe: str):
    await studio.open(f"{versions.url}/#job={versions.newer}")
    await studio.wait_until("document.querySelectorAll('#edit-clips .clip-card').length === 2")
    await studio.evaluate("document.querySelectorAll('#edit-clips [aria-pressed]')[1].click()")
    await studio.evaluate("document.querySelectorAll('#edit-clips details').forEach(each => each.open = true)")
    assert await faults(studio, axe) == []


async def test_two_versions(studio: Page, versions: Versions, axe: str):
    await studio.open(f"{versions.url}/#compare={versions.older},{versions.newer}")
    await studio.wait_until("document.querySelectorAll('#compare-rows tr').length === 2")
    assert await faults(studio, axe) == []


async def test_the_library(studio: Page, versions: Versions, axe: str):
    await studio.open(f"{versions.url}/#library")
    await studio.wait_until("document.querySelector('#library-files img')")
    await studio.evaluate("document.getElementById('library-kind').value = ''")
    await studio.evaluate("document.getElementById('library-search').requestSubmit()")
    await studio.wait_until("document.querySelectorAll('#library-files video').length > 1")
    await studio.wait_until("document.querySelector('#library-files img')?.complete")
    assert await faults(studio, axe) == []


async def test_the_picker_of_earlier_uploads(studio: Page, versions: Versions, axe: str):
    await studio.open(versions.url)
    await studio.wait_until(READY)
    await studio.evaluate("document.querySelector('[aria-label^=\"Earlier uploads\"]').click()")
    await studio.wait_until("document.querySelector('#picker-files img')?.complete")
    assert await faults(studio, axe) == []


async def test_the_dialog_for_the_key(studio: Page, versions: Versions, axe: str):
    await studio.open(versions.url)
    await studio.wait_until(READY)
    await studio.evaluate("document.getElementById('key-open').click()")
    assert await faults(studio, axe) == []
