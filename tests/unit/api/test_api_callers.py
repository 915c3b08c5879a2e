"""Reading the key out of a request, and describing what is left of a limit."""

import pytest
from starlette.datastructures import Headers

from phoenix.access.authentication import read_bearer
from phoenix.access.keys import ANYBODY
from phoenix.access.rate_limits import RateLimitDecision, RateLimitPolicy, rate_limit_headers, to_headers, to_subject
from phoenix.api.errors.problems import explain
from phoenix.errors import RateLimited, Unauthenticated


def headers(*values: str) -> Headers:
    return Headers(raw=[(b"authorization", value.encode("latin-1")) for value in values])


@pytest.mark.parametrize("given", ["Bearer phx_1", "bearer phx_1", " Bearer  phx_1 "])
def test_a_key_is_read_after_its_scheme(given: str) -> None:
    assert read_bearer(headers(given)) == "phx_1"


@pytest.mark.parametrize("given", [[], ["phx_1"], ["Basic phx_1"], ["Bearer a", "Bearer b"], ["Bearer " + "x" * 300]])
def test_any_other_authorization_header_is_refused(given: list[str]) -> None:
    with pytest.raises(Unauthenticated):
        read_bearer(headers(*given))


def test_the_remaining_quota_is_reported_in_structured_fields() -> None:
    headers_of_limit = to_headers(
        RateLimitPolicy("requests", 100),
        RateLimitDecision(is_allowed=True, remaining=41, reset_in_s=35.2, retry_in_s=0),
    )

    assert headers_of_limit == {"RateLimit-Policy": '"requests";q=100;w=60', "RateLimit": '"requests";r=41;t=36'}


def test_a_request_that_was_not_counted_has_no_headers() -> None:
    assert rate_limit_headers({"type": "http"}) == {}


def test_a_refusal_names_the_limit_that_is_used_up() -> None:
    assert tuple(explain(RateLimited("too much", policies=["streams"])).policies) == ("streams",)


def test_anybody_may_do_everything() -> None:
    for scope in list(ANYBODY.scopes):
        ANYBODY.check(scope)


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_is_counted_with_those_of_the_same_host(address: str, subject: str) -> None:
    assert to_subject(address) == subject
