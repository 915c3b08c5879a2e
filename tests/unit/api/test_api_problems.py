"""Errors as answers."""

from typing import Any

import pytest
from starlette.exceptions import HTTPException

from phoenix.api.errors.problems import MAX_FIELD_ERRORS, PROBLEM_KINDS, explain, problem_response
from phoenix.api.http.request_ids import assign_request_id
from phoenix.contract import Problem
from phoenix.errors import (
    Conflict,
    FieldError,
    InvalidRequest,
    MalformedRequest,
    ProblemCode,
    QueueFull,
    RateLimited,
    RequestError,
    Unauthenticated,
    Unavailable,
)
from phoenix.storage.errors import ObjectMissing, StoreFailed


def scope(path: str = "/v1/x", request_id: str | None = None) -> dict[str, Any]:
    headers = [(b"x-request-id", request_id.encode("latin-1"))] if request_id is not None else []
    made: dict[str, Any] = {"type": "http", "path": path, "headers": headers}
    assign_request_id(made)
    return made


def answer(error: Exception, path: str = "/v1/x") -> Problem:
    return Problem.model_validate_json(bytes(problem_response(scope(path), explain(error)).body))


def test_every_code_has_a_status_and_a_title() -> None:
    assert set(PROBLEM_KINDS) == set(ProblemCode)


def subclasses(kind: type[RequestError]) -> list[type[RequestError]]:
    return [kind, *(below for one in kind.__subclasses__() for below in subclasses(one))]


@pytest.mark.parametrize("kind", subclasses(RequestError))
def test_every_refusal_becomes_its_own_code(kind: type[RequestError]) -> None:
    problem = answer(kind())

    assert problem.code is kind.code
    assert problem.status == (400 if kind is MalformedRequest else PROBLEM_KINDS[kind.code].status)
    assert problem.detail == (kind.__doc__ or "").split("\n")[0]


@pytest.mark.parametrize("kind", [Unavailable, QueueFull, RateLimited])
def test_what_may_pass_says_when_to_try_again(kind: type[RequestError]) -> None:
    assert explain(kind()).headers["Retry-After"] == "5"
    assert explain(kind(retry_after_s=30)).headers["Retry-After"] == "30"


def test_a_missing_key_is_asked_for() -> None:
    assert explain(Unauthenticated()).headers["WWW-Authenticate"] == "Bearer"


def test_an_unexpected_error_reveals_nothing_of_itself() -> None:
    problem = answer(RuntimeError("SELECT * FROM secrets at /srv/app.py"))

    assert (problem.status, problem.code) == (500, ProblemCode.INTERNAL)
    assert "secrets" not in problem.model_dump_json()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ProblemCode.INVALID_REQUEST),
        (404, ProblemCode.NOT_FOUND),
        (408, ProblemCode.INVALID_REQUEST),
        (413, ProblemCode.PAYLOAD_TOO_LARGE),
        (415, ProblemCode.UNSUPPORTED_MEDIA),
        (416, ProblemCode.INVALID_REQUEST),
        (422, ProblemCode.INVALID_REQUEST),
        (503, ProblemCode.UNAVAILABLE),
        (507, ProblemCode.STORAGE_FULL),
        (511, ProblemCode.INTERNAL),
    ],
)
def test_a_status_of_http_keeps_its_number_and_gets_a_code(status: int, code: ProblemCode) -> None:
    problem = answer(HTTPException(status, "why"))

    assert (problem.status, problem.code, problem.detail) == (status, code, "why")


def test_a_deleted_file_is_gone_and_a_refusing_store_is_unavailable() -> None:
    assert answer(ObjectMissing("no object under uploads/x")).status == 410
    unavailable = answer(StoreFailed("disk full at /srv/data"))
    assert unavailable.status == 503
    assert "/srv" not in unavailable.detail


def test_faults_are_listed_up_to_a_bound() -> None:
    problem = answer(
        InvalidRequest("many", field_errors=[FieldError(f"/{i}", "bad") for i in range(MAX_FIELD_ERRORS + 5)])
    )

    assert len(problem.errors) == MAX_FIELD_ERRORS


def test_a_path_that_is_not_unicode_can_still_be_named() -> None:
    assert answer(Conflict(), path="/v1/\udcff").instance == "/v1/?"


@pytest.mark.parametrize("given", ["abc", "a b", "x" * 128])
def test_a_usable_request_id_is_kept(given: str) -> None:
    assert assign_request_id(scope(request_id=given)) == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "\xff", "a\x00b"])
def test_any_other_request_id_is_replaced(given: str | None) -> None:
    assert assign_request_id(scope(request_id=given)).startswith("req_")
