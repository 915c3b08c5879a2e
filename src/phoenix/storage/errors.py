"""The errors of a store, and their translation to task failures."""

from collections.abc import Generator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed


class ObjectMissing(PhoenixError):
    """There is no object with this key."""


class StoreFailed(PhoenixError):
    """The store failed: it is full or unreachable, or denies access."""


@contextmanager
def translate_store_errors(key: str, *, is_put: bool = False) -> Generator[None]:
    """Turns the errors of obstore and the file system into `ObjectMissing` or `StoreFailed`."""
    try:
        yield
    except FileNotFoundError as error:
        # A put reports a missing bucket, which may be created later.
        if is_put:
            raise StoreFailed(f"There is no place to store {key} in.") from error
        raise ObjectMissing(f"There is no object under {key}.") from error
    except (BaseError, OSError) as error:
        # obstore appends a debug dump after the first line.
        reason = str(error).split("\n", 1)[0]
        raise StoreFailed(f"The store refused {key}: {reason}") from error


@contextmanager
def reported_as_task_failure(stage: Stage) -> Generator[None]:
    """Turns the errors of a store into `TaskFailed` (STORAGE_FAILED) at `stage`, for workers.

    `StoreFailed` is retriable, because a full disk or an unreachable endpoint may recover. `ObjectMissing` is not.
    """
    try:
        yield
    except (StoreFailed, ObjectMissing) as error:
        retriable = isinstance(error, StoreFailed)
        raise TaskFailed(FailureCode.STORAGE_FAILED, error.detail, stage=stage, retriable=retriable) from error
