"""The form of the studio offers the upscalers and interpolators of the server, and sends what was chosen."""

from pathlib import Path

import pytest

from fixtures.chromium import Page
from fixtures.studio_form import submit
from fixtures.tiny_onnx import write_upscaler
from fixtures.up_process import UpProcess, UpStarter
from phoenix.contract import Job, ResolvedReel

pytestmark = pytest.mark.e2e

CATALOG = """
[[upscalers]]
id = "x2"
title = "<b>Twice</b>"
description = "Repeats pixels."
source = "{source}"
factor = 2
license = {{ name = "MIT", url = "https://example.com/mit" }}

[[interpolators]]
id = "halves"
title = "Halves"
source = "{source}"
any_time = false
"""


def catalog_in(folder: Path) -> str:
    source = write_upscaler(folder / "x2.onnx", factor=2)
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG.format(source=source))
    return str(catalog)


async def open_form(page: Page, up: UpProcess) -> None:
    await page.open(up.url)
    await page.wait_until("document.getElementById('model').value")
    await set_value(page, "duration", "1")
    await set_value(page, "resolution", "360p")


async def set_value(page: Page, element: str, value: str) -> None:
    await page.evaluate(f"document.getElementById('{element}').value = '{value}'")


async def choose(page: Page, element: str, value: str) -> None:
    await set_value(page, element, value)
    await page.evaluate(f"document.getElementById('{element}').dispatchEvent(new Event('change'))")


async def text_of(page: Page, element: str) -> str:
    return await page.evaluate(f"document.getElementById('{element}').textContent")


def newest(up: UpProcess) -> Job | None:
    with up.client() as phoenix:
        return next(iter(phoenix.list_jobs().data), None)


async def test_the_chosen_upscaler_and_interpolator_change_the_file(page: Page, start_up: UpStarter, tmp_path: Path):
    up = start_up(PHOENIX_ENGINE__CATALOG_FILE=catalog_in(tmp_path))
    await open_form(page, up)
    assert "<b>Twice</b>" in await text_of(page, "upscale")
    await choose(page, "upscale", "x2")
    assert await text_of(page, "upscale-note") == "Repeats pixels. License: MIT."
    await choose(page, "interpolate", "motion")
    await set_value(page, "scale", "1.5")
    await submit(page, "a fox")
    await page.wait_until("document.querySelector('.job[data-state=succeeded] video')?.poster")
    job = newest(up)
    assert job is not None
    assert isinstance(job.request, ResolvedReel)
    (clip,) = job.request.clips
    assert clip.upscale is not None
    assert (clip.upscale.id, clip.upscale.scale, clip.interpolate) == ("x2", 1.5, "motion")
    assert job.output is not None
    assert (job.output.width, job.output.height) == (960, 540)
    assert job.request.fps == 2 * clip.fps
    assert page.complaints == []


async def test_without_a_choice_a_reel_has_the_size_and_the_rate_of_its_model(page: Page, start_up: UpStarter):
    up = start_up()
    await open_form(page, up)
    assert await page.evaluate("document.getElementById('upscale-row').hidden")
    assert not await page.evaluate("document.getElementById('interpolate-row').hidden")
    await submit(page, "a fox")
    await page.wait_until("document.querySelector('.job')")
    job = newest(up)
    assert job is not None
    assert isinstance(job.request, ResolvedReel)
    (clip,) = job.request.clips
    assert (clip.upscale, clip.interpolate, job.request.fps) == (None, None, clip.fps)


async def test_a_rate_that_the_interpolator_cannot_make_is_explained(page: Page, start_up: UpStarter, tmp_path: Path):
    up = start_up(PHOENIX_ENGINE__CATALOG_FILE=catalog_in(tmp_path))
    await open_form(page, up)
    await choose(page, "interpolate", "halves")
    assert await text_of(page, "interpolate-note") == "Makes 2, 4, 8 times the frame rate of the model."
    await set_value(page, "fps", "60")
    await submit(page, "a fox")
    await page.wait_until("document.getElementById('new-problem').textContent.includes('halves makes 32')")
    assert newest(up) is None


async def test_a_chosen_frame_rate_is_sent_without_an_interpolator(page: Page, start_up: UpStarter):
    up = start_up()
    await open_form(page, up)
    await set_value(page, "fps", "12")
    await submit(page, "a fox")
    await page.wait_until("document.querySelector('.job')")
    job = newest(up)
    assert job is not None
    assert isinstance(job.request, ResolvedReel)
    assert job.request.fps == 12
