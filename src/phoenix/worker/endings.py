"""How an attempt ended, and what that means for its task. Pure."""

import errno
from dataclasses import dataclass

from phoenix.engine.stopping import RenderStopped, StopReason
from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.jobs.results import Result


@dataclass(frozen=True)
class Succeeded:
    result: Result


@dataclass(frozen=True)
class Failed:
    failure: TaskFailed


@dataclass(frozen=True)
class Stopped:
    reason: StopReason


Ending = Succeeded | Failed | Stopped


def ending_of(error: BaseException, asked: StopReason | None) -> Failed | Stopped:
    """The ending of an attempt that raised `error`. `asked`: the reason of a stop, if one was asked for.

    A stop explains any error: an encoder that is killed raises one, and an engine may wrap a stop.
    """
    reason = asked or (error.reason if isinstance(error, RenderStopped) else None)
    if reason is StopReason.STALLED:
        detail = "nothing moved for too long, and it was given up"
        return Failed(TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE, retriable=True))
    if reason is not None:
        return Stopped(reason)
    if isinstance(error, TaskFailed):
        return Failed(error)
    return Failed(_unexpected(error))


def _unexpected(error: BaseException) -> TaskFailed:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TaskFailed(FailureCode.STORAGE_FAILED, "the worker's disk is full", stage=Stage.UPLOAD, retriable=True)
    # The text may contain internal paths or data: it goes to the log, and only the type to the job's owner.
    detail = f"an unexpected {type(error).__name__} ended the attempt"
    return TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=Stage.DENOISE, retriable=True)
