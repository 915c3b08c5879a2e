"""Messages with tensors between the worker and a rank, over a socket of the machine. Nothing in them is a pickle."""

import io
import select
import socket
from collections.abc import Mapping
from typing import Any, cast

import torch

from phoenix.errors import FailureCode, Stage, TaskFailed

Message = Mapping[str, Any]

_LENGTH_BYTES = 8


class Channel:
    """One end of the socket. One thread sends, and one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        # `select.select` refuses the descriptors of a process that has many files open.
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """Returns the end of this process, and the end that a child process inherits."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def send(self, message: Message) -> None:
        """Sends a copy of the message. Raises `OSError` if the other end is closed."""
        stream = io.BytesIO()
        torch.save(_packed(dict(message)), stream)
        body = stream.getbuffer()
        self._end.sendall(len(body).to_bytes(_LENGTH_BYTES, "big"))
        self._end.sendall(body)

    def has_message(self, wait_s: float) -> bool:
        """Returns whether `receive` would return or fail at once. Waits `wait_s` for that."""
        return bool(self._poll.poll(1000 * wait_s))

    def receive(self) -> Message:
        """Waits for a message, whose tensors are on the CPU. Raises `EOFError` or `OSError` at the end."""
        length = int.from_bytes(self._read(_LENGTH_BYTES), "big")
        stream = io.BytesIO(self._read(length))
        return cast("Message", torch.load(stream, map_location="cpu", weights_only=True))

    def close(self) -> None:
        self._end.close()

    def _read(self, length: int) -> bytearray:
        content = bytearray(length)
        rest = memoryview(content)
        while rest:
            size_bytes = self._end.recv_into(rest)
            if not size_bytes:
                raise EOFError
            rest = rest[size_bytes:]
        return content


def _packed(value: Any) -> Any:
    """Returns the value with its tensors on the CPU, without the storage around them that a view refers to."""
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype).copy_(value.detach())
    if isinstance(value, dict):
        return {name: _packed(part) for name, part in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        parts = [_packed(part) for part in cast("list[Any]", value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def on_device(value: Any, device: str) -> Any:
    """Returns the value with its tensors on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: on_device(part, device) for name, part in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        parts = [on_device(part, device) for part in cast("list[Any]", value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def pack_failure(failed: TaskFailed) -> Message:
    return {
        "code": failed.code.value,
        "detail": str(failed),
        "stage": failed.stage.value,
        "is_retriable": failed.retriable,
    }


def read_failure(packed: Message, *, device: str) -> TaskFailed:
    """Returns the failure of a rank, with its device."""
    return TaskFailed(
        FailureCode(packed["code"]),
        f"on device {device}: {packed['detail']}",
        stage=Stage(packed["stage"]),
        retriable=packed["is_retriable"],
    )
