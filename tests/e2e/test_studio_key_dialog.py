"""The dialog for an API key, by keyboard alone in a real browser, and what the page shows to which key."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fixtures.chromium import Focus, Page
from fixtures.up_process import PhoenixProcess
from phoenix.cli.embedded.listening import READY_LINE
from phoenix.client import Phoenix
from phoenix.contract import ClipRequest, ReelRequest

pytestmark = pytest.mark.e2e

KEY_IN_USE = "sessionStorage.getItem('phoenix-api-key')"
IS_OPEN = "document.getElementById('key-dialog')?.open"
PROMPTS = "[...document.querySelectorAll('.job h3')].map(title => title.textContent)"
CONNECTION = "document.getElementById('connection').textContent"
REFRESHES = "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/v1/jobs?')).length"
# The answers to one refresh arrive when the test says so; those after them as usual.
# Only the list of jobs: a round of the page's requests that has begun must come to its end, or there is no next one.
HOLD_JOBS = """
const fetchNow = window.fetch;
const isLetGo = new Promise(resolve => window.letGo = resolve);
window.held = window.arrived = 0;
window.fetch = async (...request) => {
  const answer = await fetchNow(...request);
  if (!String(request[0]).includes('/v1/jobs?')) return answer;
  window.fetch = fetchNow;
  window.held++;
  await isLetGo;
  setTimeout(() => window.arrived++);
  return answer;
};
"""


@dataclass(frozen=True)
class KeyedServer:
    """A server that two keys may use. The jobs of each have its name as their prompt."""

    url: str
    mine: str
    yours: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    folder = tmp_path_factory.mktemp("keyed")
    environment = {"PHOENIX_AUTH": "required", "PHOENIX_DATA_DIR": str(folder / "data")}
    up = PhoenixProcess(folder, "up", "--port", "0", **environment)
    try:
        url = up.read_line().removeprefix(READY_LINE)
        keys: dict[str, str] = {}
        for name in ("mine", "yours"):
            command = PhoenixProcess(folder, "keys", "create", name, **environment)
            assert command.wait() == 0, command.log
            keys[name] = command.output().strip()
            command.close()
            with Phoenix(url, api_key=keys[name]) as phoenix:
                phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt=name)]))
        yield KeyedServer(url, **keys)
    finally:
        up.close()


async def open_dialog(page: Page, server: KeyedServer) -> None:
    """As it is for somebody who comes to the page without a key."""
    await page.open(server.url)
    await page.wait_until(IS_OPEN)


async def use_key(page: Page, key: str) -> None:
    """Once more, by the button in the head of the page."""
    await page.evaluate("document.getElementById('key-open').focus()")
    await page.press("Enter")
    await page.evaluate("document.getElementById('key').select()")
    await page.write(key)
    await page.press("Enter")


async def test_enter_uses_the_key(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    await page.write(server.mine)
    await page.press("Enter")
    await page.wait_until(f"{PROMPTS}.length")
    assert await page.evaluate(PROMPTS) == ["mine"]


async def test_tab_goes_from_the_key_over_cancel_to_use(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    focuses = [await page.focus()]
    for _ in range(2):
        await page.press("Tab")
        focuses.append(await page.focus())
    assert focuses == [
        Focus("textbox", "Key", is_outlined=True),
        Focus("button", "Cancel", is_outlined=True),
        Focus("button", "Use", is_outlined=True),
    ]


@pytest.mark.parametrize("keys", [("Escape",), ("Tab", "Enter")], ids=["Escape", "Enter on Cancel"])
async def test_a_dialog_that_was_left_uses_no_key_and_does_not_come_back_by_itself(
    page: Page, server: KeyedServer, keys: tuple[str, ...]
):
    await open_dialog(page, server)
    await page.write(server.mine)
    await page.press(*keys)
    refreshes = await page.evaluate(REFRESHES)
    await page.wait_until(f"{REFRESHES} > {refreshes + 1}")
    assert not await page.evaluate(f"{KEY_IN_USE} || {IS_OPEN}")
    assert await page.evaluate(CONNECTION) == "an API key is needed"


async def test_the_focus_returns_to_the_button_that_opened_the_dialog(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    await page.press("Escape")
    await use_key(page, server.mine)
    await page.wait_until(f"!{IS_OPEN}")
    assert await page.focus() == Focus("button", "API key", is_outlined=True)


async def test_a_second_key_that_was_typed_and_left_with_escape_is_not_used(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    await page.write(server.mine)
    await page.press("Enter")
    await page.evaluate("document.getElementById('key-open').focus()")
    await page.press("Enter")
    await page.write("another")
    await page.press("Escape")
    await page.wait_until(f"!{IS_OPEN}")
    assert await page.evaluate(KEY_IN_USE) == server.mine


async def test_a_wrong_key_shows_nothing_of_the_key_before(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    await page.write(server.mine)
    await page.press("Enter")
    await page.wait_until(f"{PROMPTS}.length && document.getElementById('workers').children.length")
    await use_key(page, "wrong")
    await page.wait_until(f"{CONNECTION} === 'this API key is not valid'")
    assert await page.evaluate(f"[...{PROMPTS}, document.getElementById('workers').textContent]") == [""]


async def test_an_answer_to_the_key_before_is_not_shown_to_the_next(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    await page.write(server.mine)
    await page.press("Enter")
    await page.wait_until(f"{PROMPTS}.length")
    await page.evaluate(HOLD_JOBS)
    await page.wait_until("window.held")
    await use_key(page, "wrong")
    await page.wait_until(f"{CONNECTION} === 'this API key is not valid'")
    await page.evaluate("window.letGo()")
    await page.wait_until("window.arrived === window.held")
    assert await page.evaluate(PROMPTS) == []


async def test_another_key_shows_its_own_jobs(page: Page, server: KeyedServer):
    await open_dialog(page, server)
    await page.write(server.mine)
    await page.press("Enter")
    await page.wait_until(f"{PROMPTS}.length")
    await use_key(page, server.yours)
    await page.wait_until(f"{PROMPTS}.includes('yours')")
    assert await page.evaluate(PROMPTS) == ["yours"]
