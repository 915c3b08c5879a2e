"""Reading `Idempotency-Key` and `Prefer`."""

import pytest

from phoenix.api.http.preferences import MAX_WAIT_S, parse_idempotency_key, parse_wait_s
from phoenix.api.submitted_body import fingerprint_of
from phoenix.contract import ReelRequest


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (' "abc" ', "abc"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('"a b"', "a b"),
        ("a b", "a b"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("x" * 255, "x" * 255),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_the_same_with_quotes_and_without(given: str, key: str) -> None:
    assert parse_idempotency_key(given) == key


@pytest.mark.parametrize("given", ["", " ", '""', '"abc', r'"a\b"', "x" * 256, "a\x00b", "a\nb", "\xe9", "\x7f"])
def test_what_is_no_key_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        parse_idempotency_key(given)


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=5", 5),
        ("wait=5; x=1", 5),
        ("wait=0", 0),
        ("wait=99999", MAX_WAIT_S),
        (None, None),
        ("", None),
        ("wait", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=1e9", None),
        ("wait=" + "9" * 5000, None),
        ("await=10", None),
    ],
)
def test_a_wait_is_read_and_bounded(prefer: str | None, wait_s: int | None) -> None:
    assert parse_wait_s(prefer) == wait_s


def read(text: str) -> str:
    return fingerprint_of(ReelRequest.model_validate_json(text))


def test_order_and_spaces_make_no_other_body() -> None:
    one = '{"clips":[{"prompt":"a","seed":1}],"fps":16}'
    same = '{ "fps": 16, "clips": [ {"seed": 1, "prompt": "\\u0061"} ] }'

    assert read(one) == read(same)


@pytest.mark.parametrize("other", ['{"clips":[{"prompt":"b"}]}', '{"clips":[{"prompt":"a"},{"prompt":"a"}]}'])
def test_another_body_has_another_fingerprint(other: str) -> None:
    assert read('{"clips":[{"prompt":"a"}]}') != read(other)
