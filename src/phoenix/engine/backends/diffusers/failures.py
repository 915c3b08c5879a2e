"""Turns the errors of pipelines into failures with a code and a stage, and frees the tensors of the error."""

import re
import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from phoenix.engine.device import device_memory, is_broken, on_device, release_memory
from phoenix.engine.interface import ProcessUnfit
from phoenix.engine.stop_token import RenderStopped
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.telemetry.logs import get_logger

_Result = TypeVar("_Result")

OUT_OF_MEMORY = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "can't allocate memory",
    # Handles are allocated on first use, from the memory that tensors do not use.
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    # The allocator queries NVML when memory is short; where NVML fails, the message has only this.
    "NVML_SUCCESS == ",
)
TOO_LARGE = ("canUse32BitIndexMath", "CUDNN_STATUS_NOT_SUPPORTED")
"""Messages of convolutions over more than 2^31 values, which a card with much memory can store."""

STICKY = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "unspecified launch failure",
    "uncorrectable ECC",
    "hardware stack error",
    "CUDA error: unknown error",
)
"""After one of these errors, every later CUDA call of the process fails too."""

_SIZE = r"[\d.]+ (?:[KMGT]?i?B|bytes)"

log = get_logger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether the device, or the machine, ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | MemoryError) and any(mark in str(error) for mark in OUT_OF_MEMORY)


def is_too_large(error: BaseException) -> bool:
    """Returns whether the tensor fits in memory, but is too large for the kernel: smaller parts can be computed."""
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in TOO_LARGE)


def run_clean(work: Callable[[], _Result], *, stage: Callable[[], Stage], device: str) -> _Result:
    """Runs `work` on the device. Raises `TaskFailed`, `ProcessUnfit` or `RenderStopped`.

    The error has no part of the original traceback. A traceback keeps the frames of the pipeline alive, with gigabytes
    of tensors: during an `except` block, and as long as a `Future` has the error. The new error is built from strings
    only.
    """
    fresh: BaseException
    is_stopped = False
    try:
        with on_device(device):
            return work()
    except RenderStopped as stopped:
        fresh, is_stopped = RenderStopped(stopped.reason), True
    except TaskFailed as failed:
        fresh = type(failed)(failed.code, failed.detail, stage=failed.stage, retriable=failed.retriable)
    except Exception as error:  # noqa: BLE001 (a pipeline may raise anything)
        log.warning("render_failed", stage=stage(), traceback=_innermost_lines(error))
        fresh = describe(error, stage=stage(), device=device)
    # A stopped call leaves no reference cycles, and the collection takes a quarter of a second.
    if not is_stopped:
        release_memory()
    raise fresh


def describe(error: Exception, *, stage: Stage, device: str) -> TaskFailed:
    """Returns the failure that clients and operators see."""
    text = _first_line(error)
    if is_out_of_memory(error):
        return TaskFailed(FailureCode.GPU_OOM, _describe_shortage(text, device), stage=stage, retriable=True)
    # cuBLAS, cuDNN and Triton report a broken device with other errors: check the device itself.
    if any(mark in str(error) for mark in STICKY) or (isinstance(error, RuntimeError) and is_broken(device)):
        return ProcessUnfit(FailureCode.ENGINE_FAILED, text, stage=stage, retriable=True)
    # The same call would raise these errors again; a RuntimeError may come from the state of the device.
    is_lasting = isinstance(error, ValueError | TypeError | LookupError | AttributeError | NotImplementedError)
    return TaskFailed(FailureCode.ENGINE_FAILED, text, stage=stage, retriable=not is_lasting)


def _innermost_lines(error: Exception) -> str:
    """Returns the innermost lines of the traceback as text.

    A logger that gets the error may print or keep its tensors.
    """
    return "".join(traceback.format_exception(error, limit=-5))


def _first_line(error: Exception) -> str:
    message = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {message[0][:500]}"


def _describe_shortage(text: str, device: str) -> str:
    parts = ["the device ran out of memory"]
    if requested := re.search(rf"[Tt]ried to allocate ({_SIZE})", text):
        parts.append(f"{requested[1]} more were needed")
    # From the message of the error: the memory of the failed call may be free again.
    if stated := re.search(rf"of ({_SIZE}) of which ({_SIZE}) is free", text):
        parts.append(f"{stated[2]} of {stated[1]} were free")
    elif (memory := device_memory(device)) is not None:
        parts.append(f"{memory.free_bytes / 2**30:.2f} GiB of {memory.total_bytes / 2**30:.2f} GiB were free")
    return "; ".join(parts)
