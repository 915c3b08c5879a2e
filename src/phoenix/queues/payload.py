"""A dispatch message as bytes in Redis: `{"f":"claim","a":[task_id, dispatch_seq]}`. Anything else is refused.

arq's default is pickle, which lets anyone who can write to Redis run code in every worker.
"""

import json
import re
from typing import Any

FUNCTION = "claim"
MAX_PAYLOAD_BYTES = 4096

_NAME = re.compile(rb"task_[0-9a-z]{26}:[1-9][0-9]{0,9}")
_TASK_ID = re.compile(r"task_[0-9a-z]{26}")


def encode(job: dict[str, Any]) -> bytes:
    """arq's serializer. Keeps only function and arguments: nothing reads times and results."""
    return json.dumps({"f": job["f"], "a": job["a"]}, separators=(",", ":")).encode()


def decode(payload: bytes) -> dict[str, Any]:
    """arq's deserializer. Raises `ValueError` for what `encode` did not make of a dispatch message."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes is not a dispatch message")
    try:
        parsed: object = json.loads(payload)
    except RecursionError as error:
        raise ValueError("a payload nested so deep is not a dispatch message") from error
    match parsed:
        case {"f": str(function), "a": [str(task_id), int(dispatch_seq)]} if _TASK_ID.fullmatch(task_id):
            return {"f": function, "a": (task_id, dispatch_seq), "k": {}, "t": None, "et": 0}
        case _:
            raise ValueError("the payload is not a dispatch message")


def is_message_name(entry: bytes) -> bool:
    """Whether an entry of a queue has the name of a dispatch message."""
    return _NAME.fullmatch(entry) is not None
