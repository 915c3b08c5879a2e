"""An engine process: reads batches from its service, one at a time, and writes their images back.

`EngineSupervisor` starts it. It ends when its service closes the link, or ends.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from phoenix.catalog.postprocessors import LipModelSpec
from phoenix.child_processes import follow_lifeline, name_process
from phoenix.engine.device import may_have_accelerator
from phoenix.engine.host_memory import keep_freed_memory
from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed
from phoenix.frames import messages
from phoenix.frames.messages import EngineMessage
from phoenix.frames.renderer import BatchRenderer, RendererOptions
from phoenix.telemetry.logs import configure_logs, get_logger

_logger = get_logger(__name__)

_NAME = "phoenix-frames"
_ORPHANED = 71


def main() -> None:
    """Arguments: the descriptor of the link, the folder of the videos, device, threads, JPEG quality, log level."""
    link_fd, videos, device, threads, jpeg_quality, log_level = sys.argv[1:]
    if device == "cpu" or not may_have_accelerator():
        # Before the first thread.
        keep_freed_memory()
    name_process(_NAME)
    follow_lifeline(lambda: os._exit(_ORPHANED))
    # A service manager may send these to all processes at once. The service drains first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs(level=log_level, json_lines=True)
    options = RendererOptions(Path(videos), device, int(threads), int(jpeg_quality))
    with socket.socket(fileno=int(link_fd)) as link:
        serve(link, BatchRenderer(options))


def serve(link: socket.socket, renderer: BatchRenderer) -> None:
    """Answers messages in their order, until the other end closes the link."""
    while (message := _read(link)) is not None:
        answer = _guarded(lambda message=message: _answer(renderer, message))
        if answer:
            try:
                link.sendall(answer)
            except ConnectionError:
                return


def _answer(renderer: BatchRenderer, message: EngineMessage) -> bytes:
    header = message.header
    if "batch" in header:
        images = renderer.render(header["batch"], messages.decode_batch(message))
        return messages.encode({"sizes": [len(image) for image in images]}, images)
    if "forget" in header:
        renderer.forget(header["forget"])
        return b""
    if "load" in header:
        renderer.load(LipModelSpec.model_validate(header["load"]))
    return messages.encode({})


def _guarded(call: Callable[[], bytes]) -> bytes:
    """An error of any library must not end the process: the next batch may be a good one."""
    try:
        return call()
    except TaskFailed as failure:
        return messages.encode_failure(failure)
    except PhoenixError as error:
        failure = TaskFailed(FailureCode.MODEL_UNAVAILABLE, error.detail, stage=Stage.LOAD)
        return messages.encode_failure(failure)
    except Exception as error:
        _logger.exception("a batch failed")
        detail = f"the engine failed: {type(error).__name__}"
        return messages.encode_failure(TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.POSTPROCESS))


def _read(link: socket.socket) -> EngineMessage | None:
    """None if the other end has closed the link."""
    sizes = _read_bytes(link, messages.SIZES.size)
    if sizes is None:
        return None
    header_bytes, payload_bytes = messages.SIZES.unpack(sizes)
    body = _read_bytes(link, header_bytes + payload_bytes)
    return None if body is None else messages.decode(body, header_bytes)


def _read_bytes(link: socket.socket, count: int) -> bytes | None:
    read = bytearray(count)
    view, done = memoryview(read), 0
    while done < count:
        try:
            received = link.recv_into(view[done:])
        except ConnectionError:
            return None
        if not received:
            return None
        done += received
    return bytes(read)


if __name__ == "__main__":
    main()
