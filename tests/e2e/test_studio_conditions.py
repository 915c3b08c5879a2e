"""The form of the studio offers what the chosen model takes, and sends it."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from fixtures.chromium import Page
from fixtures.studio_form import submit
from fixtures.up_process import UpStarter
from fixtures.veo_server import BEGIN, VeoServer
from phoenix.contract import Job, ResolvedReel

pytestmark = pytest.mark.e2e

ROLES = "[...document.querySelectorAll('#conditions input[type=file]')].map(input => input.id.slice(10)).join()"
CATALOG = """
[[models]]
id = "animatic"
conditions = { first_frame = {}, keyframe = { strength = { minimum = 0, maximum = 1, default = 0.5 } } }

[[adapters]]
id = "film"
title = "<b>Film</b>"
description = "Grain."
source = "nobody/film"
files = [{ weight_name = "film.safetensors" }]
models = ["wan-2.1-t2v-1.3b"]
trigger_words = ["filmgrain"]
"""


async def choose(page: Page, model: str) -> None:
    await page.evaluate(f"document.getElementById('model').value = '{model}'")
    await page.evaluate("document.getElementById('model').dispatchEvent(new Event('change'))")


async def choose_file(page: Page, role: str, file: Path) -> None:
    expression = f"document.getElementById('condition-{role}')"
    found = await page.send("Runtime.evaluate", expression=expression)
    await page.send("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])


def newest(up: UpStarter) -> Job:
    with up.client() as phoenix:
        return phoenix.list_jobs().data[0]


def clips_of(job: Job) -> list[list[str]]:
    """The roles of each clip, with `previous` for the clip before as the source."""
    assert isinstance(job.request, ResolvedReel)
    return [
        [f"{each.role}{' previous' if each.source.previous_clip else ''}" for each in clip.conditions]
        for clip in job.request.clips
    ]


async def test_an_uploaded_last_frame_reaches_the_service_of_the_model(
    page: Page, start_up: UpStarter, veo_server: VeoServer, tmp_path: Path
):
    for colour in ("red", "blue"):
        Image.new("RGB", (320, 180), colour).save(tmp_path / f"{colour}.png")
    up = start_up(PHOENIX_VEO__API_KEY="k", PHOENIX_VEO__BASE_URL=veo_server.url, PHOENIX_VEO__POLL_INTERVAL_S="0.1")
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    await choose(page, "veo-3.1")
    assert await page.evaluate(ROLES) == "first_frame,last_frame,reference"
    note = "document.getElementById('condition-reference-note').textContent"
    assert await page.evaluate(note) == (
        "up to 3 files; not with: first picture of each clip, last picture of each clip; clips of 8 s"
    )
    await choose_file(page, "first_frame", tmp_path / "red.png")
    await choose_file(page, "last_frame", tmp_path / "blue.png")
    await page.evaluate("document.getElementById('duration').value = '4'")
    await submit(page, "a fox")
    await page.wait_until("document.querySelector('.job[data-state=succeeded] video')?.poster")

    assert clips_of(newest(up)) == [["first_frame", "last_frame"]]
    (body,) = veo_server.bodies(BEGIN)
    picture = Image.open(io.BytesIO(base64.b64decode(body["instances"][0]["lastFrame"]["bytesBase64Encoded"])))
    red, _, blue = picture.getpixel((640, 360))
    assert (picture.size, blue > 200, red < 50) == ((1280, 720), True, True)
    assert await page.evaluate("document.getElementById('condition-last_frame').files.length") == 0
    assert page.complaints == []


async def test_a_clip_begins_with_the_end_of_the_clip_before_it(page: Page, start_up: UpStarter, png_file: Path):
    up = start_up()
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    await page.evaluate("document.getElementById('chain').checked = true")
    await page.evaluate("document.getElementById('duration').value = '1'")
    await page.evaluate("document.getElementById('quality').value = 'draft'")
    await choose_file(page, "first_frame", png_file)
    await submit(page, "a fox", "it runs")
    await page.wait_until("document.querySelector('.job[data-state=succeeded] video')?.poster")
    job = newest(up)
    assert clips_of(job) == [["first_frame"], ["first_frame previous"]]
    assert isinstance(job.request, ResolvedReel)
    assert job.request.quality == "draft"
    assert page.complaints == []


async def test_each_model_has_its_own_fields_with_their_times_strengths_and_adapters(
    page: Page, start_up: UpStarter, png_file: Path, tmp_path: Path
):
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(CATALOG)
    up = start_up(PHOENIX_ENGINE__CATALOG_FILE=str(catalog))
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    assert await page.evaluate(ROLES) == "first_frame,keyframe"
    await page.evaluate("document.getElementById('condition-keyframe-time').value = '0.5'")
    await choose_file(page, "keyframe", png_file)
    await submit(page, "a fox")
    await page.wait_until("document.querySelector('.job')")
    request = newest(up).request
    assert isinstance(request, ResolvedReel)
    (keyframe,) = request.clips[0].conditions
    assert (keyframe.role, keyframe.at_s, keyframe.strength) == ("keyframe", 0.5, 0.5)

    await choose(page, "wan-2.1-t2v-1.3b")
    assert await page.evaluate(ROLES) == ""
    assert await page.evaluate("document.getElementById('chain-row').hidden")
    assert "<b>Film</b>" in await page.evaluate("document.getElementById('adapters').textContent")
    assert "filmgrain" in await page.evaluate("document.getElementById('adapters').textContent")
    await page.evaluate("document.getElementById('adapter-film').checked = true")
    await page.evaluate("document.getElementById('scale-film').value = '0.7'")
    await submit(page, "an owl")
    await page.wait_until("document.querySelectorAll('.job').length === 2")
    request = newest(up).request
    assert isinstance(request, ResolvedReel)
    assert [(lora.id, lora.scale) for lora in request.clips[0].loras] == [("film", 0.7)]
    assert page.complaints == []


async def test_a_refused_condition_is_shown_and_its_upload_is_deleted(page: Page, start_up: UpStarter, png_file: Path):
    up = start_up()
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    await choose(page, "veo-3.1")
    await choose_file(page, "last_frame", png_file)
    await submit(page, "a fox")
    await page.wait_until(
        "document.getElementById('new-problem').textContent.includes('only together with first_frame')"
    )
    await page.wait_until("performance.getEntriesByType('resource').some(e => /artifacts.art_/.test(e.name))")
    assert newest_or_none(up) is None


def newest_or_none(up: UpStarter) -> Job | None:
    with up.client() as phoenix:
        return next(iter(phoenix.list_jobs().data), None)
