"""The errors of a store, and how a worker reports them."""

from collections.abc import Generator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed


class ObjectMissing(PhoenixError):
    """There is no object under this key."""


class StoreFailed(PhoenixError):
    """The store did not do what it was asked: it is full, away, or does not let us."""


@contextmanager
def translate_store_errors(key: str, *, is_put: bool = False) -> Generator[None]:
    """Turns what obstore and the file system raise inside into `ObjectMissing` or `StoreFailed`."""
    try:
        yield
    except FileNotFoundError as error:
        # What a put does not find is the bucket itself, which may still be created.
        if is_put:
            raise StoreFailed(f"There is no place to store {key} in.") from error
        raise ObjectMissing(f"There is no object under {key}.") from error
    except (BaseError, OSError) as error:
        # obstore appends a debug dump of the source after the first line.
        reason = str(error).split("\n", 1)[0]
        raise StoreFailed(f"The store refused {key}: {reason}") from error


@contextmanager
def reported_as_task_failure(stage: Stage) -> Generator[None]:
    """For workers: turns a store's error inside into `TaskFailed(STORAGE_FAILED)` at `stage`.

    A refusal may pass (a full disk is emptied, an endpoint comes back), so it is retriable; a missing object
    is not.
    """
    try:
        yield
    except (StoreFailed, ObjectMissing) as error:
        retriable = isinstance(error, StoreFailed)
        raise TaskFailed(FailureCode.STORAGE_FAILED, error.detail, stage=stage, retriable=retriable) from error
