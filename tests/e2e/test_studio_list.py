"""The list of jobs in the studio: all of them are reached, and what was reached stays live."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from fixtures.chromium import Page
from fixtures.up_process import UpProcess
from phoenix.contract import ClipRequest, Job, ReelRequest

pytestmark = pytest.mark.e2e

JOBS, FIRST_PAGE, PAGE = 130, 20, 20
SHOWN = "document.querySelectorAll('.job').length"
TITLES = "[...document.querySelectorAll('.job h3')].map(title => title.textContent)"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    """Its jobs run for as long as a test takes."""
    pace = {"PHOENIX_ANIMATIC__SECONDS_PER_STEP": "5"}
    with closing(UpProcess(tmp_path_factory.mktemp("up"), **pace)) as opened:
        opened.wait_until_ready()
        yield opened


def submit(up: UpProcess, count: int) -> list[Job]:
    with up.client() as phoenix:
        return [
            phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt=f"job {number}")])) for number in range(count)
        ]


def card(title: str, state: str) -> str:
    return f"[...document.querySelectorAll('.job[data-state={state}] h3')].find(h => h.textContent === '{title}')"


async def test_more_than_a_hundred_jobs_are_reached_in_order_and_stay_live(page: Page, up: UpProcess):
    jobs = submit(up, JOBS)
    await page.open(up.url)
    await page.wait_until(f"{SHOWN} === {FIRST_PAGE}")
    for pages in range(1, (JOBS - FIRST_PAGE + PAGE - 1) // PAGE + 1):
        await page.evaluate("document.getElementById('older').click()")
        await page.wait_until(f"{SHOWN} === {min(FIRST_PAGE + pages * PAGE, JOBS)}")
    assert await page.evaluate("document.getElementById('older').hidden")
    with up.client() as phoenix:
        phoenix.cancel(jobs[1].id)
        phoenix.cancel(jobs[60].id)
        await page.wait_until(f"{card('job 1', 'canceled')} && {card('job 60', 'canceled')}")
        phoenix.delete(jobs[60].id)
        await page.wait_until(f"!{TITLES}.includes('job 60')")
        newer = phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt="newer")]))
        await page.wait_until(f"{TITLES}[0] === 'newer'")
        phoenix.cancel(newer.id)
    expected = ["newer", *(f"job {number}" for number in reversed(range(JOBS)) if number != 60)]
    assert await page.evaluate(TITLES) == expected
    assert page.complaints == []
