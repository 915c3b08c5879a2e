"""The example pages of the JavaScript client in a real browser, which has no key: plain, and with React."""

import pytest

from fixtures.chromium import Page
from fixtures.js_client import JsClient, SiteStarter
from fixtures.up_process import UpProcess

pytestmark = pytest.mark.e2e

WRITE_PROMPT = """(() => {
  const input = document.getElementById('prompt');
  input.focus();
  input.select();
})()"""


async def make_a_reel(page: Page) -> None:
    await page.wait_until("document.querySelector('form button:enabled')")
    await page.evaluate(WRITE_PROMPT)
    await page.write("the sea at night")
    await page.evaluate("document.querySelector('form button').click()")
    await page.wait_until("document.querySelector('#video') && document.querySelector('#video').videoWidth > 0")


async def test_the_page_makes_a_reel_and_plays_it(
    page: Page, lasting_up: UpProcess, js_client: JsClient, start_site: SiteStarter
) -> None:
    await page.open(start_site(js_client, lasting_up.url))
    await make_a_reel(page)

    assert await page.evaluate("document.getElementById('bar').value") == 1
    with lasting_up.client() as phoenix:
        assert [clip.prompt for clip in phoenix.list_jobs(limit=1).data[0].clips] == ["the sea at night"]


async def test_the_component_of_react_makes_a_reel_and_plays_it(
    page: Page, lasting_up: UpProcess, js_client: JsClient, start_site: SiteStarter
) -> None:
    examples = js_client.installed / "examples"
    # React comes from the packages of the tests.
    react = (f"--alias:{name}={js_client.tools.programs.parent / name}" for name in ("react", "react-dom"))
    js_client.bundle(examples / "reel.jsx", examples / "page" / "reel.js", *react)

    await page.open(start_site(js_client, lasting_up.url) + "/react.html")
    await make_a_reel(page)

    assert await page.evaluate("document.getElementById('state').textContent") == "succeeded"
    assert await page.evaluate("document.getElementById('cancel').disabled")


async def test_a_page_may_not_hold_a_key(
    page: Page, lasting_up: UpProcess, js_client: JsClient, start_site: SiteStarter
) -> None:
    await page.open(start_site(js_client, lasting_up.url))
    await page.wait_until("document.readyState === 'complete'")

    said = await page.evaluate(
        "import('/client/index.js')"
        ".then(({ Phoenix }) => new Phoenix({ apiKey: 'phx_1' }))"
        ".catch((error) => error.message)"
    )

    assert "must not hold an API key" in said
