"""Each check of the fuzz finds a fault made by hand, and lets a good response pass."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fuzz.aftermath import judge_line
from fuzz.callers import Caller, Callers
from fuzz.document import EXACT_DOCUMENT, TAKE_A_REEL
from fuzz.exchanges import Exchange, find_faults
from fuzz.guided import ROLES, condition
from fuzz.hits import format_table, list_unreached, parse_hits
from fuzz.odd_values import spoil
from fuzz.rules import draw_request, operations
from fuzz.scene import Scene

OWN_JOB, OTHER_JOB = "job_" + "a" * 26, "job_" + "b" * 26
OTHER_CANARY = "canary" + "b" * 16
OWNERS = {OWN_JOB: "one", OTHER_JOB: "other", OTHER_JOB.replace("job", "video"): "other", OTHER_CANARY: "other"}
PROBLEM = {"status": 404, "code": "NOT_FOUND", "detail": "There is no such job.", "request_id": "req_1"}
HEADERS = {"content-type": "application/problem+json", "x-request-id": "req_1"}
GOOD = Exchange(
    "one", "GET", "/v1/jobs", "/v1/jobs", 200, {"x-request-id": "req_1"}, json.dumps({"id": OWN_JOB}).encode()
)
REFUSED = replace(GOOD, status=404, headers=HEADERS, body=json.dumps(PROBLEM).encode())


def problem(**changes: object) -> bytes:
    return json.dumps({**PROBLEM, **changes}).encode()


def rules(exchange: Exchange) -> list[str]:
    return [fault.rule for fault in find_faults(exchange, OWNERS.get)]


@pytest.mark.parametrize(
    "exchange",
    [
        GOOD,
        REFUSED,
        replace(REFUSED, method="HEAD", body=b""),
        # It repeats what was asked.
        replace(REFUSED, sent=f"/v1/jobs/{OTHER_JOB}", body=problem(detail=f"There is no job {OTHER_JOB}.")),
        replace(REFUSED, sent=OTHER_JOB.replace("job", "video"), body=problem(detail=f"There is no job {OTHER_JOB}.")),
        replace(GOOD, path="/v1/webhooks/secret", body=b'{"secret": "whsec_NotTheExample8GKYqrTwjUPD8ILPZIo2L"}'),
        replace(REFUSED, path="/v1/videos", status=400, headers={}, body=b'{"error": {"message": "No.", "code": "x"}}'),
    ],
)
def test_a_good_response_has_no_fault(exchange: Exchange) -> None:
    assert rules(exchange) == []


def test_a_server_error_is_found() -> None:
    assert "never a server error" in rules(replace(REFUSED, status=503, body=problem(status=503)))


@pytest.mark.parametrize(
    "exchange",
    [
        replace(REFUSED, headers={**HEADERS, "content-type": "text/plain"}),
        replace(REFUSED, body=problem(status=400)),
        replace(REFUSED, body=problem(detail="")),
        replace(REFUSED, body=problem(request_id="req_2")),
        replace(REFUSED, body=b"Not Found"),
        replace(REFUSED, path="/v1/videos/x", status=409, body=problem(status=409)),
    ],
)
def test_an_error_that_is_no_whole_problem_is_found(exchange: Exchange) -> None:
    assert rules(exchange) == ["every error is a problem"]


@pytest.mark.parametrize(
    "text",
    [
        'File "app.py", line 7, in get',
        "asyncpg failed",
        "a DataError",
        "invalid input: SELECT id FROM jobs",
        "no file /tmp/upload",
        "expected str, not None",
    ],
)
def test_an_error_that_shows_the_inside_of_the_server_is_found(text: str) -> None:
    shown = replace(REFUSED, body=problem(detail=text))

    assert set(rules(shown)) == {"errors hide how the server is made"}
    assert rules(replace(shown, sent=text)) == []


@pytest.mark.parametrize("token", [OTHER_JOB, OTHER_JOB.replace("job", "video"), OTHER_CANARY])
@pytest.mark.parametrize("place", ["body", "headers"])
def test_what_is_another_callers_is_found_in_bodies_and_headers(token: str, place: str) -> None:
    shown = {"body": {"body": token.encode()}, "headers": {"headers": {**GOOD.headers, "link": token}}}[place]

    assert rules(replace(GOOD, **shown)) == ["nothing of another caller"]


def test_only_an_operator_sees_the_jobs_of_others_and_only_in_the_fleet() -> None:
    fleet = replace(GOOD, path="/v1/workers", body=OTHER_JOB.encode())

    assert rules(replace(fleet, is_admin=True)) == []
    assert rules(fleet) == rules(replace(fleet, is_admin=True, path="/v1/jobs")) == ["nothing of another caller"]
    assert rules(replace(fleet, is_admin=True, body=OTHER_CANARY.encode())) == ["nothing of another caller"]


@pytest.mark.parametrize("secret", ["whsec_NotTheExample8GKYqrTwjUPD8ILPZIo2L", f"phx_{'0' * 12}_{'s' * 43}"])
def test_a_secret_outside_of_its_own_route_is_found(secret: str) -> None:
    assert rules(replace(GOOD, body=secret.encode())) == ["no secret where it is not made"]


@pytest.mark.parametrize("status", [200, 304, 409, 412])
def test_a_status_that_tells_a_stranger_that_a_job_exists_is_found(status: int) -> None:
    asked = replace(GOOD, path=f"/v1/jobs/{OTHER_JOB}", sent=OTHER_JOB, status=status)

    assert "a stranger cannot tell that it exists" in rules(asked)


def test_a_revoked_key_that_opens_something_is_found() -> None:
    assert rules(replace(GOOD, is_key_revoked=True)) == ["a revoked key opens nothing"]
    assert rules(replace(REFUSED, is_key_revoked=True)) == []


def judge(line: str | dict[str, object]) -> list[str]:
    text = line if isinstance(line, str) else json.dumps(line)
    return [fault.rule for fault in judge_line(text, {"req_1": GOOD}, OWNERS.get, {"s3cret": "a token"})]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ({"level": "error", "event": "request failed"}, "no exception in the log"),
        ("Traceback (most recent call last):", "no exception in the log"),
        ({"event": "s3cret"}, "no secret in the log"),
        ({"event": "a job", "prompt": OTHER_CANARY}, "no text of a caller in the log"),
        ({"event": "a job", "request_id": "req_1", "job_id": OTHER_JOB}, "no id of another caller in a line"),
    ],
)
def test_what_does_not_belong_into_the_log_is_found(line: str | dict[str, object], rule: str) -> None:
    assert judge(line) == [rule]


def test_a_line_about_the_callers_own_job_passes() -> None:
    assert judge({"event": "request", "request_id": "req_1", "job_id": OWN_JOB}) == []
    assert judge({"event": "a job was recovered", "job_id": OTHER_JOB}) == []


def make_scene(seed: int) -> Scene:
    callers = Callers(
        [Caller(name, f"phx_{'0' * 12}_{'s' * 43}", "canary" + name * 16, jobs=[OWN_JOB]) for name in "ab"]
    )
    return Scene(Random(seed), callers.active[0], callers)


def test_a_seed_draws_the_same_requests_again() -> None:
    first, again = ([draw_request(scene) for _ in range(200)] for scene in (make_scene(7), make_scene(7)))

    assert first == again
    assert first != [draw_request(make_scene(8)) for _ in range(200)]


def test_the_requests_reach_every_documented_operation() -> None:
    scene = make_scene(1)
    drawn = {(request.method, len(request.path.split("/"))) for request in (draw_request(scene) for _ in range(3000))}

    assert {(method.upper(), len(path.split("/"))) for method, path, _ in operations()} <= drawn


def test_a_spoiled_body_is_another_body() -> None:
    draw, body = Random(3), {"clips": [{"prompt": "a", "seed": 7}], "fps": 8}

    assert sum(repr(spoil(draw, body)) != repr(body) for _ in range(100)) > 90
    assert body == {"clips": [{"prompt": "a", "seed": 7}], "fps": 8}


def test_hits_are_counted_by_operation_and_the_rest_together() -> None:
    count = "phoenix_http_answer_seconds_count"
    hits = parse_hits(
        f'{count}{{method="GET",route="/v1/jobs",status="200"}} 3.0\n'
        f'{count}{{method="PUT",route="/v1/jobs",status="405"}} 1.0\n'
    )
    table = format_table(hits)

    assert "| `GET /v1/jobs` | 200: 3 |  |" in table
    assert "| other methods and paths |  | 405: 1 |" in table
    assert "GET /v1/jobs never failed" in list_unreached(hits)
    assert "GET /v1/jobs never succeeded" not in list_unreached(hits)
    assert "POST /v1/reels never succeeded" in list_unreached(hits)


def test_conditions_come_from_every_source_and_for_every_role() -> None:
    draw = Random(3)
    caller = Caller("one", "key", "canary", jobs=[OWN_JOB], artifacts=["art_" + "a" * 26])
    scene = Scene(draw, caller, Callers([caller, Caller("other", "key", "canary")]))
    made = [condition(scene, draw.choice([0, 1])) for _ in range(2000)]
    assert {each["role"] for each in made} == set(ROLES)
    keys = {frozenset(each["source"]) for each in made}
    assert {frozenset({"artifact_id"}), frozenset({"previous_clip"}), frozenset({"job_id", "clip_index"})} <= keys
    indexes = {
        each["source"].get("clip_index")
        for each in made
        if not isinstance(each["source"].get("clip_index"), (list, dict))
    }
    assert {0, 1, 2, 499} <= indexes


def body_of(document: Any, operation_id: str) -> Any:
    operations = [each for path in document["paths"].values() for each in path.values() if isinstance(each, dict)]
    (operation,) = (each for each in operations if each.get("operationId") == operation_id)
    return operation["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize(("operation", "other"), TAKE_A_REEL.items())
def test_an_operation_without_a_coverage_of_its_own_takes_the_body_of_another(operation: str, other: str) -> None:
    document = json.loads(EXACT_DOCUMENT.read_text())
    body = body_of(document, operation)
    held = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"].values()

    assert body_of(document, other)["$ref"] in (body["$ref"], *map(find_reference, held))


def find_reference(schema: Any) -> str | None:
    choices = [schema, *schema.get("anyOf", [])]
    return next((choice["$ref"] for choice in choices if "$ref" in choice), None)
