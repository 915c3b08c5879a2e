"""The errors of a store, and their translation to task failures."""

from collections.abc import Generator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from phoenix.disk_space import FULL_DISK_SIGNS
from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed, no_space


class ObjectMissing(PhoenixError):
    """There is no object with this key."""


class StoreFailed(PhoenixError):
    """The store failed: it is full or unreachable, or denies access."""


class StoreFull(StoreFailed):
    """The store has no space left."""


# In the answers of S3-compatible servers.
_FULL_BUCKET_SIGNS = ("StorageFull", "QuotaExceeded", "507 Insufficient Storage")


@contextmanager
def translate_store_errors(key: str, *, is_put: bool = False) -> Generator[None]:
    """Turns the errors of obstore and the file system into `ObjectMissing`, `StoreFailed` or `StoreFull`."""
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
        kind = StoreFull if _is_full(error) else StoreFailed
        raise kind(f"The store refused {key}: {reason}") from error


def _is_full(error: Exception) -> bool:
    return any(sign in str(error) for sign in (*FULL_DISK_SIGNS, *_FULL_BUCKET_SIGNS))


@contextmanager
def reported_as_task_failure(stage: Stage) -> Generator[None]:
    """Turns the errors of a store into `TaskFailed` (STORAGE_FULL or STORAGE_FAILED) at `stage`, for workers.

    `StoreFailed` is retriable, because an unreachable endpoint may recover. `ObjectMissing` is not.
    """
    try:
        yield
    except StoreFull as error:
        raise no_space("the store has no space left", stage=stage) from error
    except (StoreFailed, ObjectMissing) as error:
        retriable = isinstance(error, StoreFailed)
        raise TaskFailed(FailureCode.STORAGE_FAILED, error.detail, stage=stage, retriable=retriable) from error
