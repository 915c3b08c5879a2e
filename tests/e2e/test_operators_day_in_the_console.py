"""An operator's day in a real browser: each trouble is an alert, a reason in the console, and a chart.

`tests/integration/test_operators_day.py` is the same day by command. The alerts are those of the fixture.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.chromium import Page
from fixtures.later_version import LATER_MODEL
from fixtures.operators_day import BURST, Day, running_fleet

pytestmark = pytest.mark.e2e

VIEW = "document.getElementById('console-view')"
NOTE = "document.getElementById('console-note').textContent"
REASON = f"({VIEW}.querySelector('.reason, .paused')?.textContent ?? '')"
TROUBLE = f"({VIEW}.querySelector('.reel-top .trouble')?.textContent ?? '')"
BULK = f"{VIEW}.querySelector('.bulk [role=status]').textContent"


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    with running_fleet(tmp_path) as cluster:
        day = Day(cluster)
        day.scrape()
        yield day


class Desk:
    """The operator at the console of one replica; jobs come in at the other."""

    def __init__(self, page: Page, day: Day) -> None:
        self.page = page
        self.day = day

    async def sit_down(self) -> None:
        await self.page.open(f"{self.day.cluster.url(1)}/#console")
        await self.page.wait_until("document.getElementById('connection')?.textContent === 'live'")

    async def go(self, place: str) -> None:
        await self.page.evaluate(f"location.hash = {json.dumps(place)}")

    async def press(self, *labels: str) -> None:
        """The buttons with these names, one after the other."""
        for label in labels:
            button = f"{VIEW}.querySelector('[aria-label={json.dumps(label)}]')"
            await self.page.wait_until(button)
            await self.page.evaluate(f"{button}.click()")

    async def pause_clips(self, reason: str) -> None:
        await self.go("#console=fleet")
        await self.press("Pause the queue gpu")
        await self.page.write(reason)
        await self.page.press("Enter")
        await self.page.wait_until(f"{NOTE} === 'The queue gpu is paused.'")

    async def resume_clips(self) -> None:
        await self.go("#console=fleet")
        await self.press("Resume the queue gpu")
        await self.page.wait_until(f"{NOTE} === 'The queue gpu goes on.'")

    async def cancel(self, job_id: str, prompt: str) -> None:
        await self.go(f"#console={job_id}")
        await self.press(f"Cancel {prompt}", f"Cancel it? {prompt}")
        await self.sees_state(job_id, "canceled")

    async def sees_state(self, job_id: str, state: str) -> None:
        await self.go(f"#console={job_id}")
        await self.page.wait_until(f"{VIEW}.querySelector('.reel-top[data-state={state}]')")

    async def sees_alert(self, alert: str, **labels: str) -> None:
        # In a thread, so that the connection to the browser answers meanwhile.
        await asyncio.to_thread(self.day.wait_for_alert, alert, **labels)

    async def sees_reason(self, job_id: str, code: str, words: str) -> None:
        await self.go(f"#console={job_id}")
        await self.page.wait_until(f"{REASON}.startsWith('{code}: ') && {REASON}.includes({json.dumps(words)})")

    async def sees_chart(self, chart: str, pattern: str, *, of: str = "") -> None:
        """The values below the chart match the pattern. `of`: such as `queue=media`."""
        await self.go("#console")
        if of:
            await self.page.wait_until(f"document.querySelector('#stats-subject option[value=\"{of}\"]')")
            await self.page.evaluate(
                f"document.getElementById('stats-subject').value = '{of}',"
                "document.getElementById('stats-subject').dispatchEvent(new Event('change'))"
            )
        legend = f"[...document.querySelectorAll('#chart-{chart} .legend li')].map(each => each.textContent).join(', ')"
        await self.page.wait_until(f"/{pattern}/.test({legend})")


async def test_each_trouble_of_the_day_is_an_alert_a_reason_and_a_chart(page: Page, day: Day, tmp_path: Path) -> None:
    desk = Desk(page, day)
    await desk.sit_down()
    await nobody_serves_a_model(desk)
    await a_queue_is_paused(desk)
    await a_worker_is_drained(desk)
    await a_job_kills_its_workers(desk)
    await a_burst_comes(desk)
    await an_upgrade_is_rolled_back(desk, tmp_path)
    assert page.complaints == []


async def nobody_serves_a_model(desk: Desk) -> None:
    job_id = desk.day.submit_to("ltx-video")
    await desk.sees_reason(job_id, "NO_WORKER_FOR_MODEL", "`phoenix worker --queue gpu`")
    await desk.sees_alert("PhoenixTasksHaveNoWorker", queue="gpu", model="ltx-video")
    await desk.sees_chart("backlog", "most [1-9]")
    await desk.cancel(job_id, "a balloon of ltx-video")


async def a_queue_is_paused(desk: Desk) -> None:
    await desk.pause_clips("new drivers at noon")
    job_id = desk.day.cluster.submit("after the pause")
    await desk.sees_reason(job_id, "PAUSED", "new drivers at noon")
    await desk.sees_alert("PhoenixPauseIsForgotten", kind="queue", name="gpu")
    await desk.resume_clips()
    await desk.sees_state(job_id, "succeeded")
    await desk.sees_chart("waits", r"p50 \d")


async def a_worker_is_drained(desk: Desk) -> None:
    workers = desk.day.cluster.get("/v1/workers")["data"]
    assert isinstance(workers, list)
    (worker,) = [f"the worker {each['id'][-6:]}" for each in workers if each["queues"] == ["media"]]
    await desk.go("#console=fleet")
    await desk.press(f"Drain {worker}", f"Drain it? {worker}")
    await desk.page.wait_until(f"{NOTE} === '{worker.capitalize()} finishes what it runs.'")
    job_id = desk.day.cluster.submit("to be joined later")
    await desk.sees_reason(job_id, "NO_WORKER_FOR_QUEUE", "`phoenix workers resume`")
    await desk.sees_alert("PhoenixTasksHaveNoWorker", queue="media")
    await desk.go("#console=fleet")
    await desk.press(f"Resume {worker}")
    await desk.sees_state(job_id, "succeeded")
    await desk.sees_chart("throughput", "succeeded [2-9]", of="queue=media")


async def a_job_kills_its_workers(desk: Desk) -> None:
    job_id = desk.day.cluster.submit("poison")
    await desk.sees_state(job_id, "failed")
    await desk.page.wait_until(f"{TROUBLE}.startsWith('WORKER_LOST: ')")
    crashed = f"{VIEW}.querySelectorAll('tbody tr[data-state=crashed]').length"
    await desk.page.wait_until(f"{crashed} === 3")
    await desk.sees_alert("PhoenixJobsFail")
    await desk.sees_chart("failures", "WORKER_LOST 1")


async def a_burst_comes(desk: Desk) -> None:
    await desk.pause_clips("a burst")
    jobs = [desk.day.cluster.submit("one of many") for _ in range(BURST)]
    await desk.sees_alert("PhoenixBacklogRises", queue="gpu")
    await desk.sees_reason(jobs[-1], "PAUSED", "a burst")
    await desk.sees_chart("backlog", f"mean .*, most {BURST}")
    await desk.go("#console=jobs")
    await desk.page.wait_until("document.getElementById('console-words')")
    await desk.page.evaluate("document.getElementById('console-words').value = 'state:queued'")
    await desk.page.evaluate("document.getElementById('console-words').form.requestSubmit()")
    await desk.page.evaluate("document.getElementById('bulk-action').form.requestSubmit()")
    await desk.page.wait_until(f"{BULK} === '{BURST} jobs would be canceled.'")
    await desk.page.press("Enter", "Enter")
    await desk.page.wait_until(f"{BULK} === '{BURST} jobs canceled, 0 refused.'")
    await desk.resume_clips()
    await desk.sees_chart("throughput", f"canceled {1 + BURST}")


async def an_upgrade_is_rolled_back(desk: Desk, folder: Path) -> None:
    ours, theirs = await asyncio.to_thread(submit_while_upgraded, desk.day, folder)
    await desk.sees_reason(theirs, "NO_WORKER_FOR_MODEL", LATER_MODEL)
    await desk.sees_alert("PhoenixTasksHaveNoWorker", queue="gpu", model=LATER_MODEL)
    await desk.sees_state(ours, "succeeded")
    await desk.cancel(theirs, f"a balloon of {LATER_MODEL}")
    await desk.sees_chart("throughput", f"canceled {2 + BURST}")


def submit_while_upgraded(day: Day, folder: Path) -> tuple[str, str]:
    """A job that both versions can render, and one that only the later version can."""
    with day.upgraded(folder):
        return day.cluster.submit("of both versions"), day.submit_to(LATER_MODEL, replica=-1)
