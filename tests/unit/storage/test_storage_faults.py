"""What a store's faults become."""

import pytest
from obstore.exceptions import GenericError

from phoenix.errors import FailureCode, Stage, TaskFailed
from phoenix.storage.errors import ObjectMissing, StoreFailed, reported_as_task_failure, translate_store_errors


def test_a_missing_file_is_a_missing_object() -> None:
    with pytest.raises(ObjectMissing), translate_store_errors("key"):
        raise FileNotFoundError


@pytest.mark.parametrize("error", [PermissionError("no"), OSError(28, "No space left"), GenericError("no")])
def test_what_the_store_does_not_do_is_a_refusal(error: Exception) -> None:
    with pytest.raises(StoreFailed), translate_store_errors("key"):
        raise error


def test_a_refusal_keeps_the_reason_and_not_the_debug_dump() -> None:
    with pytest.raises(StoreFailed) as caught, translate_store_errors("some/key"):
        raise GenericError("disk is full\n\nDebug source: …")
    assert caught.value.detail == "The store refused some/key: disk is full"


def test_a_refusal_fails_a_task_that_may_be_tried_again() -> None:
    with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.UPLOAD):
        raise StoreFailed
    assert (caught.value.code, caught.value.stage) == (FailureCode.STORAGE_FAILED, Stage.UPLOAD)
    assert caught.value.retriable


def test_a_missing_object_fails_a_task_for_good() -> None:
    with pytest.raises(TaskFailed) as caught, reported_as_task_failure(Stage.ASSEMBLE):
        raise ObjectMissing
    assert not caught.value.retriable
