"""Turns whatever a pipeline raises into a failure with a code and a stage, and frees what the error kept alive."""

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
    # Handles are made when they are first needed, from what tensors have left.
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    # The allocator asks NVML who holds the memory that it lacks; where NVML does not answer, all it says is this.
    "NVML_SUCCESS == ",
)
TOO_LARGE = ("canUse32BitIndexMath", "CUDNN_STATUS_NOT_SUPPORTED")
"""What convolutions say of more than 2^31 values, for which a card with much memory has enough."""

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
"""After one of these, every later CUDA call of the process fails as well."""

_SIZE = r"[\d.]+ (?:[KMGT]?i?B|bytes)"

log = get_logger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | MemoryError) and any(mark in str(error) for mark in OUT_OF_MEMORY)


def is_too_large(error: BaseException) -> bool:
    """Whether there is memory but no kernel for so large a tensor: parts of it can be computed."""
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in TOO_LARGE)


def run_clean(work: Callable[[], _Result], *, stage: Callable[[], Stage], device: str) -> _Result:
    """Runs `work` on the device; whatever it raises is raised anew, without the traceback that keeps its tensors alive.

    Inside an `except` block the frames of the pipeline, and gigabytes with them, live on; so they do in a `Future`
    that keeps the error. Only strings leave the block. Raises `TaskFailed`, `ProcessUnfit` or `RenderStopped`.
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
    # A call that was stopped leaves no cycles; to look for some takes a quarter of a second.
    if not is_stopped:
        release_memory()
    raise fresh


def describe(error: Exception, *, stage: Stage, device: str) -> TaskFailed:
    """The failure that clients and operators see."""
    text = _first_line(error)
    if is_out_of_memory(error):
        return TaskFailed(FailureCode.GPU_OOM, _describe_shortage(text, device), stage=stage, retriable=True)
    # cuBLAS, cuDNN and Triton report a broken device in errors of their own: the device itself knows best.
    if any(mark in str(error) for mark in STICKY) or (isinstance(error, RuntimeError) and is_broken(device)):
        return ProcessUnfit(FailureCode.ENGINE_FAILED, text, stage=stage, retriable=True)
    # The same call would raise these again; a RuntimeError may come from the device's state.
    is_lasting = isinstance(error, ValueError | TypeError | LookupError | AttributeError | NotImplementedError)
    return TaskFailed(FailureCode.ENGINE_FAILED, text, stage=stage, retriable=not is_lasting)


def _innermost_lines(error: Exception) -> str:
    """Of the traceback, as text: a logger that is handed the error itself may print, and keep, its tensors."""
    return "".join(traceback.format_exception(error, limit=-5))


def _first_line(error: Exception) -> str:
    message = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {message[0][:500]}"


def _describe_shortage(text: str, device: str) -> str:
    parts = ["the device ran out of memory"]
    if asked := re.search(rf"[Tt]ried to allocate ({_SIZE})", text):
        parts.append(f"{asked[1]} more were needed")
    # What the error says: by now the memory of what failed may have been given back.
    if stated := re.search(rf"of ({_SIZE}) of which ({_SIZE}) is free", text):
        parts.append(f"{stated[2]} of {stated[1]} were free")
    elif (memory := device_memory(device)) is not None:
        parts.append(f"{memory.free_bytes / 2**30:.2f} GiB of {memory.total_bytes / 2**30:.2f} GiB were free")
    return "; ".join(parts)
