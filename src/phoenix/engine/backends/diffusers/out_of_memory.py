"""What follows an error of a pipeline: a failure with a code and a stage, freed tensors, and a fallback level."""

import re
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from typing import TypeVar

import torch

from phoenix.catalog.fit import WEIGHTS_SHARE
from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Offload
from phoenix.engine.backends.diffusers.weight_sizes import WeightSizes
from phoenix.engine.device import device_memory, is_broken, on_device, release_memory
from phoenix.engine.interface import ProcessUnfit
from phoenix.engine.memory_profile import CallShape
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

MORE_MEMORY = 1.05
"""Factor from which memory counts as more than before. Handles and fragments make it vary a little."""

FAILED_BATCHES = 2
"""After so many, a batch that fails where its clips succeed is no accident."""


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
    if not model.may_offload or level is FallbackLevel.GROUP_OFFLOAD:
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


def level_that_fits(sizes: WeightSizes, usable_bytes: int) -> FallbackLevel:
    """Returns the first level at which the weights fit in so much memory of the device, with some for activations."""
    for_weights_bytes = usable_bytes * WEIGHTS_SHARE
    if sizes.total_bytes <= for_weights_bytes:
        return FallbackLevel.SHARED
    return FallbackLevel.MODEL_OFFLOAD if sizes.largest_bytes <= for_weights_bytes else FallbackLevel.GROUP_OFFLOAD


@dataclass(frozen=True)
class _Fallback:
    level: FallbackLevel
    until_s: float
    usable_bytes: int | None
    """Memory of the device that was not enough for the level below."""
    clip_size: int | None
    """Values of the clip that needed it."""


class ActiveFallbacks:
    """The models that run offloaded, because a recent clip needed it. Thread-safe.

    After `FALLBACK_TTL_S` a model is tried on the device again, but only with more memory than was too little, or with
    a smaller clip.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fallbacks: dict[str, _Fallback] = {}

    def record(
        self, key: str, level: FallbackLevel, *, usable_bytes: int | None = None, clip_size: int | None = None
    ) -> None:
        """Records that the weights needed `level`. Ignores levels without offloading, and a lower level than before."""
        with self._lock:
            known = self._fallbacks.get(key)
            is_current = known is not None and self._clock() < known.until_s
            if level in _OFFLOADS and not (known is not None and is_current and level <= known.level):
                until_s = self._clock() + FALLBACK_TTL_S
                self._fallbacks[key] = _Fallback(level, until_s, usable_bytes, clip_size)

    def first_level(self, key: str, *, usable_bytes: int | None = None, clip_size: int | None = None) -> FallbackLevel:
        """Returns the level at which the next call begins."""
        with self._lock:
            known = self._fallbacks.get(key)
            if known is None:
                return FallbackLevel.SHARED
            if self._clock() < known.until_s:
                return known.level
            if _would_fail_again(known, usable_bytes, clip_size):
                # For as long again: clips of two sizes in turn must not load the model for each of them.
                self._fallbacks[key] = replace(known, until_s=self._clock() + FALLBACK_TTL_S)
                return known.level
            return FallbackLevel.SHARED


def _would_fail_again(known: _Fallback, usable_bytes: int | None, clip_size: int | None) -> bool:
    if known.usable_bytes is None or usable_bytes is None or usable_bytes > known.usable_bytes * MORE_MEMORY:
        return False
    return known.clip_size is None or clip_size is None or clip_size >= known.clip_size


class BatchFailures:
    """Remembers the batches that fail although each of their clips can be rendered alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = Counter[CallShape]()
        self._alone: set[str] = set()

    def record(self, shape: CallShape, *, is_lasting: bool) -> None:
        """Records such a batch. An error that is `is_lasting` comes from the class: it takes one clip per call."""
        with self._lock:
            self._failures[_without_batch_size(shape)] += 1
            if is_lasting:
                self._alone.add(shape.model_id)

    def forbid(self, shape: CallShape) -> bool:
        """Returns whether no batch like this is tried any more."""
        with self._lock:
            return shape.model_id in self._alone or self._failures[_without_batch_size(shape)] >= FAILED_BATCHES


def _without_batch_size(shape: CallShape) -> CallShape:
    return replace(shape, batch_size=1)
