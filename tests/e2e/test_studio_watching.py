"""A reel is watched in the studio, under the page's own security policy, while its last clips are rendered."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fixtures.chromium import Page
from fixtures.client_tools import Tools
from fixtures.up_process import PhoenixProcess
from phoenix.cli.embedded.listening import READY_LINE
from phoenix.client import Phoenix
from phoenix.contract import ClipRequest, Job, ReelRequest, Transition
from phoenix.studio import FOLDER

pytestmark = pytest.mark.e2e

CLIPS, CLIP_S, FADE_S = 4, 2, 0.5
REEL_S = CLIPS * CLIP_S - (CLIPS - 1) * FADE_S
NOTE_STALLS = """
window.video = document.querySelector(".job video"); window.stalls = []; video.muted = true;
function ahead() {
  const { buffered, currentTime } = video;
  return buffered.length ? buffered.end(buffered.length - 1) - currentTime : 0;
}
// A player that has no more to show has to wait. One that has more, and stands still, has stalled. On a busy machine,
// the decoder is late for a moment.
video.addEventListener("waiting", () => {
  const [at, before, since] = [video.currentTime, ahead(), performance.now()];
  const note = () => performance.now() - since > 3000 && stalls.push([at, before]);
  if (before > 0.5) video.addEventListener("playing", note, { once: true });
});
video.addEventListener("ended", () => {
  window.seen = { at: video.currentTime, ranges: video.buffered.length, grew: video.src.startsWith("blob:") };
}, { capture: true });
"""


class Keyed:
    """A server that needs keys, and one key for it."""

    def __init__(self, folder: Path) -> None:
        environment = {"PHOENIX_AUTH": "required", "PHOENIX_DATA_DIR": str(folder / "data")}
        pace = {"PHOENIX_ANIMATIC__SECONDS_PER_STEP": "0.2"}
        self._up = PhoenixProcess(folder, "up", "--port", "0", **environment, **pace)
        self.url = self._up.read_line().removeprefix(READY_LINE)
        with closing(PhoenixProcess(folder, "keys", "create", "me", **environment)) as command:
            assert command.wait() == 0, command.log
            self.key = command.output().strip()

    def client(self) -> Phoenix:
        return Phoenix(self.url, api_key=self.key)

    def close(self) -> None:
        self._up.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with closing(Keyed(tmp_path_factory.mktemp("keyed"))) as opened:
        yield opened


def submit(server: Keyed) -> Job:
    clips = [ClipRequest(prompt=f"the harbour at {hour} o'clock") for hour in range(CLIPS)]
    fade = Transition(kind="crossfade", duration_s=FADE_S)
    with server.client() as phoenix:
        return phoenix.submit_reel(ReelRequest(clips=clips, duration_s=CLIP_S, resolution="240p", transition=fade))


async def test_a_reel_plays_to_its_end_while_it_is_rendered_and_then_its_result_is_shown(page: Page, server: Keyed):
    job = submit(server)
    await page.open(server.url)
    await page.wait_until("document.getElementById('key-dialog')?.open")
    await page.evaluate(f"document.getElementById('key').value = '{server.key}'")
    await page.evaluate("document.querySelector('#key-dialog .primary').click()")
    await page.wait_until("document.querySelector('[aria-label^=Watch]:not([hidden])')")
    page.complaints.clear()
    await page.evaluate("document.querySelector('[aria-label^=Watch]').click()")
    await page.wait_until("document.querySelector('.job video')")
    await page.evaluate(NOTE_STALLS)
    await page.evaluate("video.play()")
    await page.wait_until("video.currentTime > 0.5")
    with server.client() as phoenix:
        playing = phoenix.get_job(job.id)
    await page.wait_until("window.seen")

    seen: dict[str, Any] = await page.evaluate("({...seen, stalls})")
    assert not playing.state.is_terminal
    assert playing.clips[-1].state != "succeeded"
    assert seen["at"] == pytest.approx(REEL_S, abs=0.1)
    assert (seen["ranges"], seen["stalls"]) == (1, [])
    await page.wait_until("video.src.includes('/content?token=') && video.poster")
    # A playlist that is asked for before its first segments are there is answered with 409.
    assert [said for said in page.complaints if "playlist.m3u8" not in said] == []


def test_the_player_in_the_page_is_the_published_one(node_tools: Tools):
    package = node_tools.programs.parent / "hls.js"
    published = (package / "dist" / "hls.light.min.mjs").read_text().partition("//# sourceMappingURL")[0]
    assert (FOLDER / "vendor" / "hls.js" / "hls.light.min.js").read_text() == published
    assert (FOLDER / "vendor" / "hls.js" / "LICENSE").read_text() == (package / "LICENSE").read_text()
