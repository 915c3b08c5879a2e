"""The JSON of a page is put together from the JSON of its jobs."""

import json

import pytest

from phoenix.api.routes.library import write_page
from phoenix.contract import JobPage

JOBS = (b'{"id":"job_1","tags":[]}', b'{"id":"job_2"}')


@pytest.mark.parametrize("next_cursor", [None, "bmV4dA"])
def test_an_empty_page_has_the_json_of_its_type(next_cursor: str | None) -> None:
    page = JobPage(data=[], has_more=next_cursor is not None, next_cursor=next_cursor)

    assert write_page([], next_cursor) == page.model_dump_json().encode()


def test_the_jobs_are_in_their_place() -> None:
    assert json.loads(write_page(JOBS, None))["data"] == [json.loads(each) for each in JOBS]
