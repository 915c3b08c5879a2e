"""Which URLs and addresses are internal, in every notation that a resolver accepts."""

import pytest

from phoenix.media.ssrf import EgressPolicy, UrlNotAllowed, check_url, is_public
from phoenix.settings import MediaSettings

INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_internal_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_an_internet_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [a for a in INSIDE if ":" not in a])
def test_a_url_with_an_internal_address_is_refused(address: str) -> None:
    with pytest.raises(UrlNotAllowed):
        check_url(f"https://{address}/a.mp3")


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0",
        "①②⑦.⓪.⓪.①",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00:ec2::254]",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
        "metadata.google.internal",
        "printer.local",
        "redis",
    ],
)
def test_an_internal_host_is_refused_in_any_notation(host: str) -> None:
    with pytest.raises(UrlNotAllowed):
        check_url(f"https://{host}/a.mp3")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.mp3",
        "//sounds.example/a.mp3",
        "http://sounds.example/a.mp3",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "ftp://sounds.example/a.mp3",
        "data:audio/wav;base64,AAAA",
        "unix:/run/redis.sock",
        "https:///a.mp3",
        "https://sounds.example:6379/a.mp3",
        "https://sounds.example:80/a.mp3",
        "https://user@sounds.example/a.mp3",
        "https://user:password@sounds.example/a.mp3",
        "https://good.example@127.0.0.1/",
        "https://127.0.0.1\\@good.example/",
        "https://sounds.example/a b",
        "https://sounds.example/\r\nHost: x",
        "https://sounds.example/\x00",
        "https://[::1/",
        "https://sounds.example:99999/",
        "https://sounds.example/" + "a" * 2048,
    ],
)
def test_a_url_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://sounds.example/a.mp3",
        "https://sounds.example:443/a.mp3?x=1#t",
        "https://8.8.8.8/a.mp3",
        "https://[2606:4700::1111]/a.mp3",
        "https://bücher.example/a.mp3",
    ],
)
def test_a_plain_https_url_passes(url: str) -> None:
    assert check_url(url).scheme == "https"


def test_a_server_may_be_configured_to_fetch_from_its_own_network() -> None:
    settings = MediaSettings(fetch_allow_private=True, fetch_ports=(8443,))

    assert check_url("https://nas:8443/a.mp3", EgressPolicy.from_settings(settings)).host == "nas"


def test_by_default_only_port_443_of_the_internet_is_fetched_from() -> None:
    assert EgressPolicy.from_settings(MediaSettings()) == EgressPolicy()
