"""The translation of the errors of a store."""

import errno
import os

import pytest
from obstore.exceptions import GenericError

from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.storage.errors import (
    ObjectMissing,
    StoreFailed,
    StoreFull,
    reported_as_task_failure,
    translate_store_errors,
)


def test_a_missing_file_is_a_missing_object() -> None:
    with pytest.raises(ObjectMissing), translate_store_errors("key"):
        raise FileNotFoundError


@pytest.mark.parametrize("error", [PermissionError("no"), GenericError("no")])
def test_other_errors_become_store_failed(error: Exception) -> None:
    with pytest.raises(StoreFailed), translate_store_errors("key"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        GenericError("Unable to copy data: No space left on device (os error 28)"),
        GenericError("Server returned non-2xx status code: 507 Insufficient Storage: <Code>XMinioStorageFull</Code>"),
    ],
)
def test_an_error_of_a_full_store_becomes_store_full(error: Exception) -> None:
    with pytest.raises(StoreFull), translate_store_errors("key", is_put=True):
        raise error


def test_store_full_is_a_failure_for_lack_of_space() -> None:
    with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.UPLOAD):
        raise StoreFull
    assert (caught.value.code, caught.value.stage) == (FailureCode.STORAGE_FULL, Stage.UPLOAD)


def test_store_failed_has_the_reason_and_no_debug_dump() -> None:
    with pytest.raises(StoreFailed) as caught, translate_store_errors("some/key"):
        raise GenericError("disk is full\n\nDebug source: …")
    assert caught.value.detail == "The store refused some/key: disk is full"


def test_store_failed_is_a_retriable_task_failure() -> None:
    with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.UPLOAD):
        raise StoreFailed
    assert (caught.value.code, caught.value.stage) == (FailureCode.STORAGE_FAILED, Stage.UPLOAD)
    assert caught.value.retriable


def test_a_missing_object_is_a_task_failure_that_is_not_retriable() -> None:
    with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.ASSEMBLE):
        raise ObjectMissing
    assert not caught.value.retriable
