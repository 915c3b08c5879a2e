"""The example pages of the JavaScript client in a real browser, which has no key. And its example for Next.js."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fixtures import child_processes
from fixtures.chromium import Page
from fixtures.client_tools import CLIENTS, Tools, install_packages, last_json
from fixtures.js_client import NAME, JsClient, SiteStarter
from fixtures.ports import free_port
from fixtures.up_process import UpProcess, wait_until

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


@pytest.fixture
def next_project(js_client: JsClient) -> Path:
    """The example with Next.js and the packed client, built for production."""
    modules = install_packages("nextjs", CLIENTS / "nextjs")
    project = modules.parent
    shutil.rmtree(project / ".next", ignore_errors=True)
    shutil.copytree(js_client.installed / "examples" / "nextjs", project, dirs_exist_ok=True)
    shutil.copytree(js_client.installed / "dist", modules / NAME / "dist", dirs_exist_ok=True)
    shutil.copy(js_client.installed / "package.json", modules / NAME)
    Tools(modules / ".bin").run("next", "build", folder=project)
    return project


@pytest.fixture
def next_url(next_project: Path, lasting_up: UpProcess) -> Iterator[str]:
    port = free_port()
    process = child_processes.start(
        ["node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", str(port)],
        cwd=next_project,
        env={**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "PHOENIX_URL": lasting_up.url},
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url) or process.poll() is not None)
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=100).status_code == 200
    except httpx.TransportError:
        return False


def test_the_example_runs_in_next_for_a_visitor_without_a_key(js_client: JsClient, next_url: str) -> None:
    script = CLIENTS / "js" / "visit_nextjs.mjs"

    assert last_json(js_client.run_node(script, next_url)) == {
        "page": True,
        "script": 200,
        "made": 202,
        "ended": True,
        "file": "video/mp4",
        "begins": "ftyp",
        "of_another": 403,
        "of_nobody": 403,
    }
