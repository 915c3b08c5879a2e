"""The example page plays a session in Chromium: every frame, in order, in step with its sound."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from fixtures.chromium import open_chromium
from fixtures.echo_frames import open_echo_front
from fixtures.repository import REPOSITORY
from phoenix.settings import Settings

pytestmark = pytest.mark.e2e

EXAMPLE = REPOSITORY / "examples" / "frames.html"
FRAMES = 40
SPEAK = """
(async () => {
  const { Player, registerVideo, speak } = window.framesExample;
  const audio = new AudioContext({ sampleRate: 16000 });
  await audio.resume();
  const shown = [];
  const player = new Player(audio, document.getElementById("picture"), (frame) => shown.push(frame));
  const video = await registerVideo(location.origin, "", new Blob(["a face"]), "");
  const session = speak(location.origin, "", video.video_id, new Int16Array(640 * %d), player);
  const ended = await session.ended;
  while (player.left) await new Promise((resolve) => setTimeout(resolve, 20));
  return { ...ended, shown, size: [document.getElementById("picture").width] };
})()
"""


def make_picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (48, 32), "teal").save(data, "JPEG")
    return data.getvalue()


async def test_the_page_shows_every_frame_in_step_with_its_sound(api_settings: Settings, tmp_path: Path) -> None:
    async with (
        open_echo_front(api_settings) as front,
        open_chromium(tmp_path, "--autoplay-policy=no-user-gesture-required") as page,
    ):
        front.service.image = make_picture()
        await page.open(f"{front.url}/health/live")
        await page.wait_until("document.readyState === 'complete'")
        await page.evaluate(f"document.open(); document.write({json.dumps(EXAMPLE.read_text())}); document.close()")
        await page.wait_until("window.framesExample")
        seen = await page.evaluate(SPEAK % FRAMES)

    indices = [each["index"] for each in seen["shown"]]
    assert (seen["frames"], seen["outOfOrder"], seen["code"]) == (FRAMES, 0, 1000)
    assert seen["size"] == [48]
    # A busy machine draws fewer pictures a second, but none before its sound, and the last one always.
    assert indices == sorted(set(indices))
    assert indices[-1] == FRAMES - 1
    assert all(each["lateBy"] >= 0 for each in seen["shown"])
