"""How a file is named to the client."""

import pytest

from phoenix.api.http.file_response import disposition


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("a.mp4", "inline; filename=\"a.mp4\"; filename*=UTF-8''a.mp4"),
        ("Übung 1.mp3", "inline; filename=\"?bung 1.mp3\"; filename*=UTF-8''%C3%9Cbung%201.mp3"),
        ('a"b\\c.mp4', "inline; filename=\"a'b_c.mp4\"; filename*=UTF-8''a%22b%5Cc.mp4"),
    ],
)
def test_a_name_cannot_break_out_of_its_header(filename: str, header: str) -> None:
    assert disposition(filename) == header
