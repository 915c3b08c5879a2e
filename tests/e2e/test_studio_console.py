"""The operator's console in a real browser: what each key sees there, and what an administrator does with it."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from fixtures.chromium import Page
from fixtures.client_tools import Tools
from fixtures.up_process import PhoenixProcess
from phoenix.cli.embedded.listening import READY_LINE
from phoenix.client import Phoenix
from phoenix.contract import ClipRequest, Job, PauseKind, ReelRequest
from phoenix.studio import FOLDER

pytestmark = pytest.mark.e2e

SERIOUS = """axe.run().then(({ violations }) => violations
  .filter(({ impact }) => impact === 'serious' || impact === 'critical')
  .map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))"""
IS_WIDER = "document.documentElement.scrollWidth > innerWidth"
NOTE = "document.getElementById('console-note').textContent"
TROUBLE = "document.getElementById('console-trouble').textContent"
VIEW = "document.getElementById('console-view')"
SHOWN_BUTTONS = f"[...{VIEW}.querySelectorAll('button, input, select')].filter(each => each.checkVisibility())"


@dataclass(frozen=True)
class Server:
    """A server that needs keys, and one key of each kind. `mine` owns the jobs, which wait."""

    url: str
    mine: str
    viewer: str
    boss: str
    done: str
    """A job that has ended."""

    def client(self, key: str) -> Phoenix:
        return Phoenix(self.url, api_key=key)

    def submit(self, count: int = 1, **changes: Any) -> list[Job]:
        with self.client(self.mine) as phoenix:
            request = ReelRequest(clips=[ClipRequest(prompt="a fox")], **changes)
            return [phoenix.submit_reel(request) for _ in range(count)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keyed")
    environment = {"PHOENIX_AUTH": "required", "PHOENIX_DATA_DIR": str(folder / "data")}
    with closing(PhoenixProcess(folder, "up", "--port", "0", **environment)) as up:
        url = up.read_line().removeprefix(READY_LINE)
        keys: dict[str, str] = {}
        for name, scopes in (("mine", ()), ("viewer", ("--scope", "operator")), ("boss", ("--scope", "admin"))):
            with closing(PhoenixProcess(folder, "keys", "create", name, *scopes, **environment)) as command:
                assert command.wait() == 0, command.log
                keys[name] = command.output().strip()
        with Phoenix(url, api_key=keys["mine"]) as phoenix:
            done = phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt="a fox", duration_s=1)])).id
            for _ in phoenix.watch(done):
                pass
        # What comes later waits, for as long as the tests last.
        with Phoenix(url, api_key=keys["boss"]) as phoenix:
            phoenix.pause(PauseKind.QUEUE, "gpu", reason="new drivers")
        yield Server(url, done=done, **keys)


async def show(page: Page, server: Server, key: str, place: str) -> None:
    """The place as the holder of the key sees it."""
    await page.send("Page.enable")
    use = f"if (location.protocol === 'http:') sessionStorage.setItem('phoenix-api-key', {json.dumps(key)})"
    await page.send("Page.addScriptToEvaluateOnNewDocument", source=use)
    await page.open(f"{server.url}/{place}")
    await page.wait_until("document.getElementById('connection')?.textContent === 'live'")


def named(name: str) -> str:
    return f"{VIEW}.querySelector('[aria-label={json.dumps(name)}]')"


def entry(text: str) -> str:
    """The entry of a list with this text."""
    return f"[...{VIEW}.querySelectorAll('.entry')].find(each => each.textContent.includes({json.dumps(text)}))"


async def search(page: Page, words: str) -> None:
    await page.wait_until("document.getElementById('console-words')")
    await page.evaluate(f"document.getElementById('console-words').value = {json.dumps(words)}")
    await page.evaluate("document.getElementById('console-words').form.requestSubmit()")


async def test_a_key_without_the_scope_has_no_console(page: Page, server: Server):
    await show(page, server, server.mine, "#console")
    await page.wait_until(f"{TROUBLE} === 'The console needs a key with the scope operator or admin.'")
    assert await page.evaluate("document.getElementById('console-open').hidden")
    assert await page.evaluate(f"{VIEW}.children.length") == 0


async def test_an_operator_sees_the_fleet_and_has_nothing_to_press(page: Page, server: Server):
    await show(page, server, server.viewer, "")
    await page.wait_until("!document.getElementById('console-open').hidden")
    await show(page, server, server.viewer, "#console=fleet")
    await page.wait_until(f"{entry('gpu')} && {entry('animatic')}")
    assert await page.evaluate(NOTE) == "This key sees everything here, and changes nothing."
    assert await page.evaluate(f"{SHOWN_BUTTONS}.length") == 0
    assert "queue gpu: Paused since" in await page.evaluate("document.getElementById('console-paused').textContent")
    assert page.complaints == []


async def test_a_pause_with_its_reason_is_seen_wherever_a_job_waits_for_it(page: Page, server: Server):
    (job,) = server.submit()
    await show(page, server, server.boss, "#console=fleet")
    await page.wait_until(named("Pause the model animatic"))
    await page.evaluate(f"{named('Pause the model animatic')}.focus()")
    await page.press("Enter")
    await page.write("wrong weights")
    await page.press("Enter")
    await page.wait_until(f"{NOTE} === 'The model animatic is paused.'")
    # The sentence comes first, and the list and the focus follow it.
    await page.wait_until("document.activeElement.getAttribute('aria-label') === 'Resume the model animatic'")
    await page.evaluate(f"{named('Resume the queue gpu')}.click()")
    await page.wait_until(f"{NOTE} === 'The queue gpu goes on.'")
    await page.evaluate(f"location.hash = '#console={job.id}'")
    reason = f"{VIEW}.querySelector('.paused')?.textContent"
    await page.wait_until(f"{reason} === 'PAUSED: The model animatic is paused: wrong weights.'")
    with server.client(server.boss) as phoenix:
        phoenix.pause(PauseKind.QUEUE, "gpu", reason="new drivers")
        phoenix.resume(PauseKind.MODEL, "animatic")
    await page.wait_until(f"{reason} === 'PAUSED: The queue gpu is paused: new drivers.'")
    assert page.complaints == []


async def test_a_waiting_job_is_moved_to_the_front_where_the_order_is_shown(page: Page, server: Server):
    *_, last = server.submit(2)
    await show(page, server, server.boss, "#console=fleet")
    await page.wait_until(entry("gpu"))
    await page.evaluate(f"{entry('gpu')}.querySelector('summary').click()")
    await page.wait_until(named(f"To the front the job {last.id[-6:]}"))
    await page.evaluate(f"{named(f'To the front the job {last.id[-6:]}')}.click()")
    first = f"{VIEW}.querySelector('.next li')?.textContent"
    await page.wait_until(f"{first}.includes('{last.id[-6:]}') && {first}.includes('moved to the front')")
    assert "The queue gpu is paused: new drivers." in await page.evaluate(first)


async def test_jobs_are_found_by_qualifiers_and_one_gets_another_priority_and_is_canceled(page: Page, server: Server):
    (job,) = server.submit()
    await show(page, server, server.boss, "#console=jobs")
    await search(page, "state:queued kind:reel after:1d")
    name = f"reel {job.id[-6:]}"
    await page.wait_until(entry(name))
    choice = named(f"Priority of {name}")
    await page.evaluate(f"{choice}.value = 'high', {choice}.dispatchEvent(new Event('change'))")
    await page.wait_until(f"{NOTE} === '{name.capitalize()} has the priority high.'")
    for label in (f"Cancel {name}", f"Cancel it? {name}"):
        await page.evaluate(f"{named(label)}.click()")
    await page.wait_until(f"!{entry(name)}")
    with server.client(server.mine) as phoenix:
        ended = phoenix.get_job(job.id)
    assert (ended.state, ended.priority) == ("canceled", "high")


async def test_a_search_with_a_wrong_qualifier_says_what_there_is(page: Page, server: Server):
    await show(page, server, server.boss, "#console=jobs")
    await page.wait_until(f"{VIEW}.querySelector('.entry')")
    await search(page, "state:broken")
    await page.wait_until(f"{VIEW}.textContent.includes('state: is one of held, queued, running')")


async def test_many_jobs_are_canceled_after_a_preview_and_the_audit_log_has_each(page: Page, server: Server):
    jobs = server.submit(3)
    await show(page, server, server.boss, "#console=jobs")
    await search(page, "state:queued")
    await page.wait_until(f"{SHOWN_BUTTONS}.filter(each => each.type === 'checkbox').length >= 3")
    for job in jobs[:2]:
        await page.evaluate(f"{named(f'Choose reel {job.id[-6:]}')}.click()")
    await page.evaluate("document.getElementById('bulk-action').form.requestSubmit()")
    said = f"{VIEW}.querySelector('.bulk [role=status]').textContent"
    await page.wait_until(f"{said} === '2 jobs would be canceled.'")
    await page.press("Enter", "Enter")
    await page.wait_until(f"{said} === '2 jobs canceled, 0 refused.'")
    await page.evaluate("location.hash = '#console=audit'")
    await page.wait_until(f"{VIEW}.querySelector('tbody tr')")
    rows = await page.evaluate(f"[...{VIEW}.querySelectorAll('tbody tr')].map(row => row.textContent)")
    assert [any("job.cancel" in row and job.id in row for row in rows) for job in jobs] == [True, True, False]
    assert page.complaints == []


async def test_the_timeline_has_the_attempts_with_their_stages_and_the_log(page: Page, server: Server):
    await show(page, server, server.viewer, f"#console={server.done}")
    rows = f"[...{VIEW}.querySelectorAll('tbody tr')].map(row => row.textContent)"
    await page.wait_until(f"{rows}.length >= 2")
    clip, *_ = await page.evaluate(rows)
    assert clip.startswith("Clip 11succeeded")
    assert "denoise" in clip
    bars = await page.evaluate(f"{VIEW}.querySelectorAll('.bar-track:has(span)').length")
    assert bars == await page.evaluate(f"{rows}.length")
    await page.wait_until(f"{VIEW}.querySelector('.log').textContent.includes('job.succeeded')")
    assert page.complaints == []


async def test_an_owner_gets_a_weight_and_a_limit(page: Page, server: Server):
    owner = server.mine.split("_")[1]
    await show(page, server, server.boss, "#console=owners")
    await page.wait_until(entry(owner))
    await page.evaluate(f"{entry(owner)}.querySelector('summary').click()")
    for number, value in enumerate(("2", "4")):
        await page.evaluate(f"{entry(owner)}.querySelectorAll('input[type=number]')[{number}].value = '{value}'")
    await page.evaluate(f"{named(f'Save the share of {owner}')}.click()")
    await page.wait_until(f"{entry(owner)}.textContent.includes('Weight 2, at most 4 clips at a time.')")
    assert page.complaints == []


async def test_a_worker_is_drained_and_resumed(page: Page, server: Server):
    with server.client(server.boss) as phoenix:
        worker = next(each for each in phoenix.workers() if "media" in each.queues)
    name = f"the worker {worker.id[-6:]}"
    await show(page, server, server.boss, "#console=fleet")
    await page.wait_until(named(f"Drain {name}"))
    for label in (f"Drain {name}", f"Drain it? {name}"):
        await page.evaluate(f"{named(label)}.click()")
    await page.wait_until(f"{entry(worker.id[-6:])}.dataset.state === 'drained'")
    assert (await page.focus()).name == f"Resume {name}"
    await page.evaluate(f"{named(f'Resume {name}')}.click()")
    await page.wait_until(f"{entry(worker.id[-6:])}.dataset.state !== 'drained'")


async def test_the_charts_are_drawn_said_and_written_as_tables(page: Page, server: Server):
    await show(page, server, server.viewer, "#console")
    await page.wait_until("document.querySelector('#chart-throughput canvas')")
    said = "document.querySelector('#chart-waits [role=img]')?.getAttribute('aria-label') ?? ''"
    await page.wait_until(f"({said}).startsWith('Wait for a worker. p50: latest')")
    await page.evaluate("document.querySelector('#chart-throughput summary').click()")
    await page.wait_until("document.querySelectorAll('#chart-throughput tbody tr').length")
    await page.wait_until("document.querySelectorAll('#stats-subject option').length >= 3")
    await page.evaluate("document.getElementById('stats-subject').value = 'model=animatic'")
    await page.evaluate("document.getElementById('stats-subject').dispatchEvent(new Event('change'))")
    await page.wait_until("!document.getElementById('chart-utilisation')")
    assert page.complaints == []


@pytest.fixture(scope="module")
def axe(node_tools: Tools) -> str:
    return (node_tools.programs.parent / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
async def test_axe_finds_nothing_serious_on_any_screen(page: Page, server: Server, axe: str, width: int, scheme: str):
    server.submit()
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    await page.send("Emulation.setDeviceMetricsOverride", **metrics)
    await page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await show(page, server, server.boss, "#console")
    await page.evaluate(axe)
    screens = {
        "#console": "document.querySelector('#chart-throughput canvas')",
        "#console=fleet": entry("gpu"),
        "#console=owners": entry(server.mine.split("_")[1]),
        "#console=jobs": f"{VIEW}.querySelectorAll('.entry').length > 1",
        "#console=audit": f"{VIEW}.querySelector('tbody tr')",
        f"#console={server.done}": f"{VIEW}.querySelector('.log li')",
    }
    found: dict[str, list[object]] = {}
    for place, is_shown in screens.items():
        await page.evaluate(f"location.hash = {json.dumps(place)}")
        await page.wait_until(is_shown)
        await page.evaluate(f"{VIEW}.querySelectorAll('details').forEach(each => each.open = true)")
        wider = ["wider than the window"] if await page.evaluate(IS_WIDER) else []
        if faults := [*await page.evaluate(SERIOUS), *wider]:
            found[place] = faults
    assert found == {}


def test_the_charts_in_the_page_are_the_published_ones(node_tools: Tools):
    published, stored = node_tools.programs.parent / "uplot", FOLDER / "vendor" / "uplot"
    names = {"uPlot.esm.js": "dist/uPlot.esm.js", "uPlot.min.css": "dist/uPlot.min.css", "LICENSE": "LICENSE"}
    assert [name for name, path in names.items() if (stored / name).read_text() != (published / path).read_text()] == []
