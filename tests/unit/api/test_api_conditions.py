"""Validators: when the client has the answer already, and when a download may go on."""

import pytest

from phoenix.api.http.conditional import is_not_modified, passes_if_match, passes_if_range

ETAG = '"abc"'


@pytest.mark.parametrize("header", ['"abc"', 'W/"abc"', '"x", "abc"', "*", ' "abc" '])
def test_a_header_that_names_the_tag_is_answered_with_304(header: str) -> None:
    assert is_not_modified(header, ETAG)


@pytest.mark.parametrize("header", [None, "", '"abcd"', "abc", '"x", "y"', '"*"'])
def test_any_other_header_gets_the_whole_answer(header: str | None) -> None:
    assert not is_not_modified(header, ETAG)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, True), ('"abc"', True), ('"old"', False), ('W/"abc"', False), ("Wed, 21 Oct 2015 07:28:00 GMT", False)],
)
def test_a_download_goes_on_only_with_the_strong_tag_of_the_same_file(header: str | None, expected: bool) -> None:
    assert passes_if_range(header, ETAG) is expected


@pytest.mark.parametrize("header", [None, "*", '"abc"', '"x", "abc"', 'W/"x", "abc"'])
def test_a_request_goes_on_if_the_strong_tag_is_named(header: str | None) -> None:
    assert passes_if_match(header, ETAG)


@pytest.mark.parametrize("header", ["", '"abcd"', "abc", 'W/"abc"', '"x", W/"abc"', '"*"'])
def test_a_request_for_another_version_does_not_go_on(header: str) -> None:
    assert not passes_if_match(header, ETAG)
