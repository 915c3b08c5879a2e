"""The payload of a dispatch message, and the payloads that are rejected."""

import pytest

from phoenix.ids import new_task_id
from phoenix.queues.arq_queue import FUNCTION, MAX_PAYLOAD_BYTES, decode_job, encode_job, is_message_name
from phoenix.queues.queue import DispatchMessage

TASK_ID = "task_01kag3e9zq4f7w5m8x2c6b0n1d"


def encoded(task_id: str = TASK_ID, dispatch: int = 3) -> bytes:
    job = {"t": None, "f": FUNCTION, "a": (task_id, dispatch), "k": {"secret": "x"}, "et": 17}
    return encode_job(job)


def test_only_function_and_arguments_are_written() -> None:
    assert encoded() == b'{"f":"claim","a":["task_01kag3e9zq4f7w5m8x2c6b0n1d",3]}'


def test_an_encoded_message_is_decoded_again() -> None:
    job = decode_job(encoded())
    assert (job["f"], job["a"], job["k"]) == ("claim", (TASK_ID, 3), {})


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x80\x04\x95\x10\x00",
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"f": "claim"}',
        b'{"f": "claim", "a": []}',
        b'{"f": "claim", "a": ["../../etc/passwd", 1]}',
        b'{"f": "claim", "a": ["task_01kag3e9zq4f7w5m8x2c6b0n1d", "1"]}',
        b'{"f": 1, "a": ["task_01kag3e9zq4f7w5m8x2c6b0n1d", 1]}',
        b"[" * 4000,
        b"\xff\xfe",
    ],
)
def test_a_payload_that_is_not_a_message_is_rejected(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_job(garbage)


def test_a_payload_of_more_than_4_kib_is_not_even_parsed() -> None:
    padded = encoded() + b" " * MAX_PAYLOAD_BYTES
    with pytest.raises(ValueError, match="bytes"):
        decode_job(padded)


def test_a_message_is_named_for_its_task_and_dispatch() -> None:
    name = DispatchMessage(new_task_id(), 12).name
    assert is_message_name(name.encode())


@pytest.mark.parametrize("entry", [b"", b"task_x:1", b"\xff\xff", f"{TASK_ID}:0".encode(), f"{TASK_ID}:1\n".encode()])
def test_foreign_entries_are_recognised_by_their_names(entry: bytes) -> None:
    assert not is_message_name(entry)
