"""Which hosts and origins a server answers, with and without keys."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from phoenix.access.host_policy import HostPolicy, UnsafeSettings
from phoenix.errors import Forbidden, MalformedRequest, PhoenixError
from phoenix.settings import AuthMode, Settings

PUBLIC = "https://phoenix.example.com"
LISTED = "https://app.example.com"
APPS = "http://localhost:5173"


def make_policy(auth: AuthMode = AuthMode.OFF, **api: Any) -> HostPolicy:
    return HostPolicy.from_settings(Settings.model_validate({"auth": auth, "api": api}))


def refusal(policy: HostPolicy, *headers: tuple[str, str], method: str = "GET", version: str = "1.1") -> Any:
    """The type of the error for a request; None if the request is answered."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    try:
        policy.check(method, version, Headers(raw=raw))
    except PhoenixError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST:8080",
        "localhost.",
        "phoenix.localhost:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.255.1.2:1",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]:8080",
    ],
)
def test_without_keys_a_server_answers_under_loopback_names(host: str) -> None:
    assert refusal(make_policy(), ("Host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "127.1",
        "2130706433",
        "0.0.0.0:8080",
        "[::]:8080",
        "128.0.0.1",
        "192.168.1.9",
        "[fe80::1]",
    ],
)
def test_without_keys_a_server_answers_under_no_other_name(host: str) -> None:
    assert refusal(make_policy(host="0.0.0.0"), ("Host", host)) is Forbidden


@pytest.mark.parametrize(
    "host", ["", "a b", "localhost/", "user@localhost", "localhost:x", "::1", "[::1", "a,b", "x" * 254, "lôcalhost"]
)
@pytest.mark.parametrize("auth", AuthMode)
def test_a_host_that_cannot_be_read_is_malformed(host: str, auth: AuthMode) -> None:
    assert refusal(make_policy(auth), ("Host", host)) is MalformedRequest


@pytest.mark.parametrize("auth", AuthMode)
@pytest.mark.parametrize("second", ["localhost", "evil.example"])
def test_two_hosts_are_malformed(second: str, auth: AuthMode) -> None:
    assert refusal(make_policy(auth), ("Host", "localhost"), ("Host", second)) is MalformedRequest


@pytest.mark.parametrize("auth", AuthMode)
def test_no_host_is_malformed(auth: AuthMode) -> None:
    assert refusal(make_policy(auth)) is MalformedRequest


def test_only_where_keys_are_required_a_probe_of_http_1_0_needs_no_host() -> None:
    assert refusal(make_policy(AuthMode.REQUIRED), version="1.0") is None
    assert refusal(make_policy(), version="1.0") is MalformedRequest


def test_with_keys_a_server_answers_under_every_name_and_pages_of_every_origin() -> None:
    foreign = [("Host", "evil.example"), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]

    assert refusal(make_policy(AuthMode.REQUIRED), *foreign, method="POST") is None


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"public_url": PUBLIC}, "phoenix.example.com"),
        ({"public_url": "http://10.0.0.7:81"}, "10.0.0.7:81"),
        ({"host": "192.168.1.9"}, "192.168.1.9:8080"),
        ({"host": "render-box"}, "render-box:8080"),
        ({"allowed_hosts": ["Render-Box"]}, "render-box:8080"),
        ({"allowed_hosts": ["*.example.com"]}, "a.b.example.com"),
        ({"allowed_hosts": ["10.1.0.0/16"]}, "10.1.2.3:8080"),
        ({"allowed_hosts": ["fd00::/8"]}, "[fd00::7]"),
    ],
)
def test_a_server_without_keys_answers_under_the_names_that_are_configured(settings: dict[str, Any], host: str) -> None:
    assert refusal(make_policy(**settings), ("Host", host)) is None
    assert refusal(make_policy(), ("Host", host)) is Forbidden


def test_a_star_stands_for_names_below_and_not_for_the_name_itself() -> None:
    policy = make_policy(allowed_hosts=["*.example.com"])

    assert refusal(policy, ("Host", "example.com")) is Forbidden
    assert refusal(policy, ("Host", "evilexample.com")) is Forbidden


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Origin", "http://localhost:8080")],
        [("Origin", "https://localhost:8080")],
        [("Origin", "http://LOCALHOST:8080"), ("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "none")],
        [("Origin", LISTED), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", PUBLIC)],
    ],
)
def test_programs_and_pages_of_known_origins_may_change_something(headers: list[tuple[str, str]]) -> None:
    policy = make_policy(cors_origins=[LISTED], public_url=PUBLIC)

    assert refusal(policy, ("Host", "localhost:8080"), *headers, method="POST") is None


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "https://evil.example")],
        [("Origin", "null")],
        [("Origin", "")],
        [("Origin", APPS)],
        [("Origin", "http://localhost")],
        [("Origin", "http://localhost:8080.evil.example")],
        [("Origin", "ftp://localhost:8080")],
        [("Origin", "http://localhost:8080"), ("Origin", "https://evil.example")],
        [("Origin", LISTED), ("Origin", "https://evil.example")],
        [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "BREW"])
def test_pages_of_other_origins_may_change_nothing(headers: list[tuple[str, str]], method: str) -> None:
    policy = make_policy(cors_origins=[LISTED])

    assert refusal(policy, ("Host", "localhost:8080"), *headers, method=method) is Forbidden


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_is_answered_to_every_origin(method: str) -> None:
    headers = [("Host", "localhost"), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]

    assert refusal(make_policy(), *headers, method=method) is None


def test_an_origin_of_the_public_url_has_no_default_port() -> None:
    policy = make_policy(public_url="https://Phoenix.Example.com:443/base")
    headers = [("Host", "127.0.0.1:8080"), ("Origin", PUBLIC)]

    assert refusal(policy, *headers, method="POST") is None


@pytest.mark.parametrize(
    ("auth", "credentials"),
    [(AuthMode.OFF, False), (AuthMode.OFF, True), (AuthMode.REQUIRED, True)],
)
def test_every_origin_is_refused_without_keys_and_with_credentials(auth: AuthMode, credentials: bool) -> None:
    with pytest.raises(UnsafeSettings, match="List the origins"):
        make_policy(auth, cors_origins=["*"], cors_credentials=credentials)


def test_every_origin_may_read_with_a_key_and_without_cookies() -> None:
    assert make_policy(AuthMode.REQUIRED, cors_origins=["*"], cors_credentials=False)
