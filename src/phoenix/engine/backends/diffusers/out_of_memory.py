"""What follows an error of a pipeline: a failure with a code and a stage, freed tensors, and a fallback level."""

import re
import threading
import time
import traceback
from collections.abc import Callable
from enum import Enum, IntEnum, auto
from typing import TypeVar

import torch

from phoenix.catalog.model import ModelSpec, Offload
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


FALLBACK_TTL_S = 1800.0
"""The cause of the shortage may be gone after this time: one large clip, or another process. If it is not, the model
loses a failed attempt and two loads, a few percent of half an hour."""


class FallbackLevel(IntEnum):
    """How much memory a call leaves to others. Within each level, `decoding` can also reduce the tiles."""

    SHARED = 0
    """The call runs together with other calls and models whose memory is known to fit."""
    EXCLUSIVE = 1
    """The call runs alone, and no other model is in memory."""
    MODEL_OFFLOAD = 2
    """Also, only the weights of the running component are on the device. Slow."""
    GROUP_OFFLOAD = 3
    """Also, only the weights of the running layers are on the device. Slowest, with the least memory."""


_OFFLOADS: dict[FallbackLevel, Offload] = {FallbackLevel.MODEL_OFFLOAD: "model", FallbackLevel.GROUP_OFFLOAD: "group"}


def next_level(level: FallbackLevel, model: ModelSpec, *, shared_device: bool) -> FallbackLevel | None:
    """Returns the level to try next; None if there is none. EXCLUSIVE helps only if the call shared the device."""
    if level is FallbackLevel.SHARED and shared_device:
        return FallbackLevel.EXCLUSIVE
    if model.offload != "auto" or level is FallbackLevel.GROUP_OFFLOAD:
        return None
    return FallbackLevel.GROUP_OFFLOAD if level is FallbackLevel.MODEL_OFFLOAD else FallbackLevel.MODEL_OFFLOAD


def model_at_level(model: ModelSpec, level: FallbackLevel) -> ModelSpec:
    """Returns the model with the offload mode of this level."""
    offload = _OFFLOADS.get(level)
    return model if offload is None else model.model_copy(update={"offload": offload})


class Recovery(Enum):
    """What follows a failed call."""

    SPLIT = auto()
    """The clips are rendered again, in two smaller calls."""
    FALL_BACK = auto()
    """The clips are rendered again, at the next fallback level."""
    FAIL = auto()
    """The clips have failed."""


def plan_recovery(failed: TaskFailed, clips: int, higher: FallbackLevel | None) -> Recovery:
    """Returns what follows a failed call of `clips` clips. `higher` is the next fallback level, if there is one."""
    affects_all = isinstance(failed, ProcessUnfit) or failed.code is FailureCode.TIMEOUT
    # Also after other errors: a clip that causes an error must not fail the other clips.
    if clips > 1 and not affects_all:
        return Recovery.SPLIT
    if failed.code is FailureCode.GPU_OOM and higher is not None:
        return Recovery.FALL_BACK
    return Recovery.FAIL


class ActiveFallbacks:
    """The models that run offloaded, because a recent clip needed it. An entry expires after `FALLBACK_TTL_S`.

    Thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fallbacks: dict[str, tuple[FallbackLevel, float]] = {}

    def record(self, model_id: str, level: FallbackLevel) -> None:
        """Records that a clip of the model succeeded at `level`. Ignores levels without offloading."""
        with self._lock:
            if level in _OFFLOADS and level > self._first_level(model_id):
                self._fallbacks[model_id] = level, self._clock() + FALLBACK_TTL_S

    def first_level(self, model_id: str) -> FallbackLevel:
        """Returns the level at which the next call of the model begins."""
        with self._lock:
            return self._first_level(model_id)

    def _first_level(self, model_id: str) -> FallbackLevel:
        level, until_s = self._fallbacks.get(model_id, (FallbackLevel.SHARED, 0.0))
        return level if self._clock() < until_s else FallbackLevel.SHARED
