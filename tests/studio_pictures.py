"""Takes the pictures of docs/studio.md: every screen of the studio, on a server of its own with animatics.

`make studio-pictures` runs it. Names on the command line take only these pictures, such as `library`.
"""

import asyncio
import base64
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from fixtures.chromium import Page, open_chromium
from fixtures.llm_server import LlmServer, script_of, spoken
from fixtures.scripted_server import ScriptedServer
from fixtures.speech import spoken as speech
from fixtures.speech import tone
from fixtures.studio_form import READY, write_prompts
from fixtures.up_process import UpProcess
from phoenix.contract import ClipEdit, ClipRequest, EditRequest, Job, PauseKind, ReelRequest, Transition

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, NARROW, PHONE, QUALITY = 1280, 520, 390, 82
PROMPTS = [
    "a red balloon leaves the hand of a child in a harbor, dawn",
    "the balloon drifts over the roofs of the old town",
    "gulls circle the balloon above the open sea",
]
CAPTIONS = ["At dawn", "", "Free"]
NARRATION = ["It leaves.", "", "Nobody holds it."]
CARDS = "[...document.querySelectorAll('#edit-clips .clip-card')]"


@dataclass(frozen=True)
class Scene:
    """A page of a server, on which a picture is arranged."""

    page: Page
    up: UpProcess
    llm: LlmServer
    folder: Path

    async def show(self, place: str = "") -> None:
        await self.page.open("about:blank")
        await self.page.open(f"{self.up.url}/{place}")
        await self.page.wait_until(READY)

    async def clear(self) -> None:
        await self.page.evaluate("sessionStorage.clear()")

    async def do(self, script: str) -> None:
        await self.page.evaluate(script)

    async def until(self, condition: str) -> None:
        await self.page.wait_until(condition)

    async def set(self, element: str, value: str) -> None:
        await self.do(
            f"""(field => {{ field.value = {json.dumps(value)};
            for (const name of ['input', 'change']) field.dispatchEvent(new Event(name, {{ bubbles: true }})) }})
            (document.getElementById({json.dumps(element)}))"""
        )

    async def choose(self, selector: str, *files: Path) -> None:
        found = await self.page.send("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        await self.page.send(
            "DOM.setFileInputFiles", files=[str(file) for file in files], objectId=found["result"]["objectId"]
        )

    async def write_storyboard(self, **changes: Any) -> None:
        texts = zip(PROMPTS, CAPTIONS, NARRATION, strict=True)
        clips = [
            {"prompt": prompt, "characters": [], "duration_s": 2, "caption": caption, "narration": narration}
            for prompt, caption, narration in texts
        ]
        self.llm.script = [spoken(script_of(clips=clips, title="The balloon"), **changes)]
        await self.set("idea", "A red balloon leaves a harbor at dawn and finds the sea.")
        for wish in ("story-caption", "story-narrate"):
            await self.do(f"document.getElementById('{wish}').checked = true")
        await self.do("document.getElementById('story-new').requestSubmit()")

    def make(self, *clips: ClipRequest, **changes: Any) -> Job:
        """A reel that has ended."""
        request = ReelRequest.model_validate(
            {"clips": list(clips), "duration_s": 2, "resolution": "480p", "title": "The balloon", **changes}
        )
        with self.up.client() as phoenix:
            job = phoenix.submit_reel(request)
            for _ in phoenix.watch(job.id):
                pass
            return phoenix.get_job(job.id)


def reel(**of_clip: Any) -> list[ClipRequest]:
    return [ClipRequest(prompt=prompt, seed=number, **of_clip) for number, prompt in enumerate(PROMPTS)]


def spoken_reel() -> list[ClipRequest]:
    texts = zip(PROMPTS, CAPTIONS, NARRATION, strict=True)
    return [ClipRequest(prompt=prompt, caption=caption, narration=said) for prompt, caption, said in texts]


async def idea_writing(scene: Scene) -> None:
    scene.llm.go_on.clear()
    await scene.write_storyboard(holds_after=15)
    await scene.until("document.querySelectorAll('#story-written li').length === 2")


async def idea(scene: Scene) -> None:
    scene.llm.go_on.set()
    await scene.write_storyboard()
    await scene.until("document.querySelectorAll('#clips li.clip-card').length === 3")
    await scene.until("document.querySelectorAll('#estimate span').length")


async def form(scene: Scene) -> None:
    scene.make(*reel(), transition=Transition(kind="crossfade", duration_s=0.5))
    await scene.show()
    await write_prompts(scene.page, *PROMPTS)
    await scene.set("crossfade", "0.5")
    await scene.until("document.querySelector('#estimate span') && document.querySelector('.job video')?.poster")
    await scene.do("document.getElementById('new-title').scrollIntoView()")


async def plan(scene: Scene) -> None:
    scene.make(*reel())
    await scene.show()
    await scene.set("duration", "2")
    await write_prompts(scene.page, *PROMPTS[:1], "the balloon comes down on an island")
    await scene.do("document.querySelector('#clips [data-name=seed]').value = '0'")
    await scene.set("resolution", "480p")
    await scene.until("document.querySelector('#estimate span')?.textContent.includes('reused')")
    await scene.do("document.getElementById('hold').scrollIntoView({ block: 'center' })")


async def guides(scene: Scene) -> None:
    await write_prompts(scene.page, *PROMPTS[:2])
    await scene.choose("#clips [data-name=guides]", scene.folder / "harbor.png")
    await scene.do("document.querySelector('#clips [aria-label=\"From the clip before, for clip 2\"]').click()")
    await scene.until("document.querySelector('.guide img') && document.querySelectorAll('.guide').length === 2")
    await scene.until("document.querySelector('.guide img').complete")
    await scene.do("document.getElementById('new-title').scrollIntoView()")


async def picker(scene: Scene) -> None:
    await upload_files(scene)
    await scene.show()
    await write_prompts(scene.page, *PROMPTS[:2])
    await scene.do("document.querySelector('#clips [aria-label^=\"Earlier uploads\"]').click()")
    await scene.until("document.querySelectorAll('#picker-files img').length > 1")
    await scene.until("[...document.querySelectorAll('#picker-files img')].every(image => image.complete)")


async def templates(scene: Scene) -> None:
    await write_prompts(scene.page, *PROMPTS)
    await scene.do("document.getElementById('templates').open = true")
    await scene.set("template-name", "My harbor")
    await scene.do("document.getElementById('template-save').requestSubmit()")
    await scene.until("document.querySelectorAll('#template-list li').length > 4")
    await scene.do("document.getElementById('new-title').scrollIntoView()")


async def library(scene: Scene) -> None:
    await upload_files(scene)
    scene.make(*reel()[:1])
    await scene.show("#library")
    await scene.set("library-kind", "")
    await scene.until("document.querySelectorAll('#library-files .file').length > 3")
    await scene.until("[...document.querySelectorAll('#library-files img')].every(image => image.complete)")


async def draft(scene: Scene) -> None:
    with scene.up.client() as phoenix:
        job = phoenix.submit_reel(ReelRequest(clips=reel(), duration_s=2, hold="draft", title="The balloon"))
        if job.draft_job_id:
            for _ in phoenix.watch(job.draft_job_id):
                pass
    await scene.show(f"#job={job.id}")
    await scene.until("!document.getElementById('reel-approve').hidden")


async def watch(scene: Scene) -> None:
    slow = [ClipRequest(prompt=prompt, steps=8 if number < 2 else 400) for number, prompt in enumerate(PROMPTS)]
    with scene.up.client() as phoenix:
        job = phoenix.submit_reel(ReelRequest(clips=slow, duration_s=3, title="The balloon"))
    await scene.show(f"#job={job.id}")
    await scene.until("!document.getElementById('reel-watch').hidden")
    await scene.do("document.getElementById('reel-watch').click()")
    video = "document.querySelector('#reel-player video')"
    await scene.until(video)
    await scene.do(f"{video}.muted = true, {video}.play().catch(() => {{}})")
    await scene.until(f"{video}.currentTime > 1")


async def edit(scene: Scene) -> None:
    job = scene.make(*reel(takes=2))
    await open_editor(scene, job)
    await scene.do(f"{CARDS}[0].querySelector('[aria-label^=\"Re-roll\"]').click()")
    await scene.do(f"{CARDS}[2].querySelector('.grip').focus()")
    await scene.page.press("ArrowUp")
    await scene.do("document.getElementById('edit-options').scrollIntoView()")


async def words(scene: Scene) -> None:
    await open_editor(scene, scene.make(*spoken_reel()))
    await scene.do("document.querySelectorAll('#edit-clips details').forEach(each => each.open = true)")
    await scene.do("document.getElementById('edit-clips').scrollIntoView()")


async def open_editor(scene: Scene, job: Job) -> None:
    await scene.show(f"#job={job.id}")
    await scene.until(f"{CARDS}.length === 3 && {CARDS}.every(card => card.querySelector('video')?.readyState)")


async def compare(scene: Scene) -> None:
    older = scene.make(*reel())
    with scene.up.client() as phoenix:
        newer = phoenix.edit(older.id, EditRequest(clips=[ClipEdit(op="reroll", index=1)], title="The balloon, again"))
        for _ in phoenix.watch(newer.id):
            pass
    await scene.show(f"#compare={older.id},{newer.id}")
    await scene.until("document.querySelectorAll('#compare-rows tr').length === 3")
    videos = "[...document.querySelectorAll('#compare-versions video')]"
    await scene.do(f"{videos}.forEach(video => {{ video.muted = true; video.play() }})")
    await scene.until(f"{videos}.every(video => video.currentTime > 0.5)")
    await scene.do(f"{videos}.forEach(video => video.pause())")


async def search(scene: Scene) -> None:
    for title, tags in (("The balloon", ["sea", "dawn"]), ("Gulls", ["sea"])):
        job = scene.make(*reel()[:1], title=title, tags=tags)
    with scene.up.client() as phoenix:
        phoenix.change(job.id, {"favorite": True})
    await scene.show()
    await scene.set("search-words", "#sea")
    await scene.do("document.getElementById('search').requestSubmit()")
    await scene.until("document.querySelectorAll('#found .job').length > 1")


async def console(scene: Scene) -> None:
    for number in range(4):
        scene.make(*reel()[: 1 + number % 3])
    await scene.show("#console")
    await scene.until("document.getElementById('stats-window')")
    await scene.set("stats-window", "0")
    await scene.until(
        "document.querySelector('#chart-throughput canvas') && document.querySelector('#chart-took canvas')"
    )


async def console_owners(scene: Scene) -> None:
    scene.make(*reel()[:2])
    await scene.show("#console=owners")
    await scene.until("document.querySelector('#console-view .entry summary')")
    await scene.do("document.querySelector('#console-view .entry summary').click()")


async def console_fleet(scene: Scene) -> None:
    make_waiting(scene)
    await scene.show("#console=fleet")
    await scene.until("document.querySelector('#console-view .entry summary')")
    await scene.do("document.querySelector('#console-view .entry summary').click()")
    await scene.until("document.querySelectorAll('#console-view .next li').length > 2")


async def console_jobs(scene: Scene) -> None:
    make_waiting(scene)
    await scene.show("#console=jobs?state:queued%20after:1d")
    await scene.until("document.querySelectorAll('#console-view .entry').length > 2")
    await scene.do("document.getElementById('bulk-action').form.requestSubmit()")
    await scene.until("document.querySelector('#console-view .matches li')")


async def console_job(scene: Scene) -> None:
    job = scene.make(*(ClipRequest(prompt=prompt, seed=70 + number) for number, prompt in enumerate(PROMPTS)))
    await scene.show(f"#console={job.id}")
    await scene.until("document.querySelectorAll('#console-view tbody tr').length > 3")
    await scene.do("document.getElementById('console-title').scrollIntoView()")


async def console_audit(scene: Scene) -> None:
    make_waiting(scene)
    with scene.up.client() as phoenix:
        phoenix.resume(PauseKind.QUEUE, "gpu")
    await scene.show("#console=audit")
    await scene.until("document.querySelectorAll('#console-view tbody tr').length > 1")


async def key(scene: Scene) -> None:
    await scene.do("document.getElementById('key-open').click()")
    await scene.until("document.getElementById('key-dialog').open")


async def code(scene: Scene) -> None:
    await write_prompts(scene.page, *PROMPTS[:2])
    await scene.do("document.getElementById('code').open = true")
    await scene.set("code-language", "python")
    await scene.until("document.getElementById('code-text').textContent.includes('import')")
    await scene.do("document.getElementById('code').scrollIntoView()")


async def phone(scene: Scene) -> None:
    job = scene.make(*reel(), tags=["sea"])
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    await scene.page.send("Emulation.setEmulatedMedia", features=[dark])
    await scene.show(f"#job={job.id}")
    await scene.until(f"{CARDS}.length === 3 && document.querySelector('#reel-player video')?.poster")


def make_waiting(scene: Scene) -> None:
    """Jobs that wait for a pause to end."""
    with scene.up.client() as phoenix:
        phoenix.pause(PauseKind.QUEUE, "gpu", reason="new drivers at noon")
        for prompt in PROMPTS:
            phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt=prompt)], title=prompt.split(",")[0]))


async def upload_files(scene: Scene) -> None:
    with scene.up.client() as phoenix:
        if not phoenix.list_artifacts(q="island").data:
            for name in ("harbor.png", "island.png", "waves.wav"):
                phoenix.upload(scene.folder / name)


Arrange = Callable[[Scene], Awaitable[None]]
PICTURES: dict[str, tuple[Arrange, int] | tuple[Arrange, int, int]] = {
    "idea-writing": (idea_writing, 900),
    "idea": (idea, 1250),
    "draft": (draft, 520),
    "form": (form, 900),
    "plan": (plan, 460, NARROW),
    "guides": (guides, 600, NARROW),
    "picker": (picker, 640),
    "templates": (templates, 560, NARROW),
    "library": (library, 900),
    "watch": (watch, 1000),
    "edit": (edit, 900),
    "words": (words, 900),
    "compare": (compare, 860),
    "search": (search, 900),
    "code": (code, 520, NARROW),
    "key": (key, 420, NARROW),
    "phone": (phone, 844, PHONE),
    "console": (console, 1150),
    "console-job": (console_job, 1000),
    "console-owners": (console_owners, 620),
    "console-fleet": (console_fleet, 900),
    "console-jobs": (console_jobs, 900),
    "console-audit": (console_audit, 620),
}
"""How each picture is arranged, and its height and width in pixels. The queue is paused from the last three on."""


async def take(scene: Scene, name: str) -> None:
    arrange, height, *width = PICTURES[name]
    metrics = {"width": width[0] if width else WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    await scene.page.send("Emulation.setDeviceMetricsOverride", **metrics)
    await scene.page.send("Emulation.setEmulatedMedia", features=[])
    await scene.show()
    await scene.clear()
    await scene.show()
    await arrange(scene)
    taken = await scene.page.send("Page.captureScreenshot", format="jpeg", quality=QUALITY)
    await asyncio.to_thread((DOCS / f"studio-{name}.jpg").write_bytes, base64.b64decode(taken["data"]))
    print(name)  # noqa: T201 - the script has a reader


def paint(path: Path, sky: str, sea: str, sun: tuple[int, int]) -> None:
    """A picture that looks like one: sky, sea and a sun."""
    image = Image.new("RGB", (1280, 720), sky)
    draw = ImageDraw.Draw(image)
    x, y = sun
    draw.ellipse((x - 90, y - 90, x + 90, y + 90), fill="#ffe9b0")
    draw.rectangle((0, 430, 1280, 720), fill=sea)
    draw.polygon([(0, 430), (260, 330), (420, 430)], fill="#4b4a57")
    image.filter(ImageFilter.GaussianBlur(3)).save(path)


@contextmanager
def running(folder: Path) -> Iterator[tuple[UpProcess, LlmServer]]:
    llm, voice = LlmServer(), ScriptedServer()
    voice.otherwise = speech(1.0)
    settings = {
        "PHOENIX_LLM__BASE_URL": llm.url,
        "PHOENIX_LLM__MODEL": "scripted",
        "PHOENIX_TTS__BASE_URL": f"{voice.url}/v1",
        "PHOENIX_TTS__MODEL": "tts",
        "PHOENIX_TTS__VOICE": "alloy",
        "PHOENIX_ANIMATIC__SECONDS_PER_STEP": "0.05",
        "PHOENIX_PRICES__DEVICE_HOUR": "2.5",
        "PHOENIX_PRICES__CURRENCY": "EUR",
        "PHOENIX_LIMITS__STORED_BYTES_PER_KEY": "5000000000",
    }
    llm.start()
    voice.start()
    try:
        with closing(UpProcess(folder, **settings)) as up:
            up.wait_until_ready()
            yield up, llm
    finally:
        llm.stop()
        voice.stop()


async def take_all(names: list[str]) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        paint(folder / "harbor.png", "#e7a07a", "#3d5a73", (900, 300))
        paint(folder / "island.png", "#7fb3d9", "#20707c", (300, 160))
        (folder / "waves.wav").write_bytes(tone(3))
        with running(folder) as (up, llm):
            async with open_chromium(folder / "profile") as page:
                for name in names:
                    await take(Scene(page, up, llm, folder), name)


if __name__ == "__main__":
    os.environ.setdefault("NO_PROXY", "*")
    asyncio.run(take_all(sys.argv[1:] or list(PICTURES)))
