"""How a response other than 2xx becomes an exception."""

from datetime import timedelta
from email.utils import format_datetime

import httpx
import pytest

from phoenix.client import AsyncPhoenix, DownloadCorrupted, NoOutput, PhoenixClientError, PhoenixUnreachable
from phoenix.client.errors import problem_from
from phoenix.clock import utc_now
from phoenix.contract import Problem, ProblemFault
from phoenix.errors import ProblemCode

PROBLEM = Problem(
    type="https://phoenix.invalid/problems/invalid-request",
    title="Invalid request",
    status=422,
    detail="2 faults",
    instance="/v1/reels",
    code=ProblemCode.INVALID_REQUEST,
    request_id="req_1",
    errors=[ProblemFault(pointer="/clips/0/prompt", detail="is empty")],
)


def test_a_problem_keeps_its_code_its_faults_and_its_request_id():
    problem = problem_from(httpx.Response(422, content=PROBLEM.model_dump_json()))
    assert (problem.status, problem.code, problem.detail) == (422, "INVALID_REQUEST", "2 faults")
    assert problem.field_errors == (ProblemFault(pointer="/clips/0/prompt", detail="is empty"),)
    assert problem.request_id == "req_1"


def test_a_proxys_page_becomes_a_problem_too():
    problem = problem_from(httpx.Response(502, html="<h1>Bad Gateway</h1>", headers={"x-request-id": "req_2"}))
    assert (problem.status, problem.code, problem.request_id) == (502, "HTTP_502", "req_2")


def test_retry_after_may_be_seconds():
    assert problem_from(httpx.Response(429, headers={"retry-after": "7"})).retry_after_s == 7


def test_retry_after_may_be_a_date():
    at = format_datetime(utc_now() + timedelta(hours=1))
    assert problem_from(httpx.Response(503, headers={"retry-after": at})).retry_after_s == pytest.approx(3600, abs=100)


@pytest.mark.parametrize("header", ["soon", "", "-3", "Wed, 99 Foo"])
def test_an_unreadable_retry_after_is_as_good_as_none(header: str):
    assert problem_from(httpx.Response(503, headers={"retry-after": header})).retry_after_s is None


@pytest.mark.parametrize(
    ("error", "code", "retriable"),
    [
        (problem_from(httpx.Response(422, content=PROBLEM.model_dump_json())), "INVALID_REQUEST", False),
        (problem_from(httpx.Response(503)), "HTTP_503", True),
        (PhoenixUnreachable("no answer"), "UNREACHABLE", True),
        (DownloadCorrupted("other bytes"), "CORRUPTED", True),
        (NoOutput("it was canceled"), "NO_OUTPUT", False),
    ],
)
def test_every_error_has_a_code_and_says_whether_trying_again_can_help(
    error: PhoenixClientError, code: str, retriable: bool
):
    assert (error.code, error.retriable) == (code, retriable)


def test_a_problem_points_to_its_first_fault():
    assert problem_from(httpx.Response(422, content=PROBLEM.model_dump_json())).pointer == "/clips/0/prompt"
    assert problem_from(httpx.Response(404)).pointer is None


@pytest.mark.parametrize("key", ["phx_\u2026", "phx_1234\n"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="api_key has a character that no key has") as raised:
        AsyncPhoenix("http://127.0.0.1:1", key)

    assert key not in str(raised.value)
