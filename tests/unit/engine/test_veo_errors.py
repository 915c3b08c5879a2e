"""What Veo's refusals and failures mean for a clip."""

import pytest

from phoenix.engine.backends.veo.errors import describe_failure, describe_refusal
from phoenix.errors import FailureCode

REFUSALS = (
    "The prompt contains sensitive words that violate Google's Responsible AI practices. Try rephrasing the prompt.",
    "Veo could not generate videos because the input image violates Vertex AI's usage guidelines.",
    "Your current safety filter threshold filtered out 1 generated videos.",
    "The prompt could not be submitted. Support codes: 29310472",
)


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals_by_moderation_are_final_before_and_after_acceptance(message: str):
    for failed in (describe_refusal(400, message, "detail"), describe_failure({"code": 3, "message": message})):
        assert (failed.code, failed.retriable) == (FailureCode.MODERATED, False)
        assert message in failed.detail


def test_another_bad_request_is_the_engines_failure():
    failed = describe_refusal(400, "durationSeconds is out of range", "Veo responded with 400: durationSeconds …")
    assert (failed.code, failed.retriable) == (FailureCode.ENGINE_FAILED, False)


def test_a_denied_key_is_no_moderation_though_its_message_has_the_word_policy():
    failed = describe_refusal(403, "Permission denied by an organization policy.", "detail")
    assert failed.code is FailureCode.MODEL_UNAVAILABLE


def test_an_overloaded_service_is_no_moderation():
    failed = describe_failure({"code": 8, "message": "Quota exceeded. See the policy at …"})
    assert (failed.code, failed.retriable) == (FailureCode.UPSTREAM_RATE_LIMITED, True)


def test_a_failure_without_message_and_code_is_retriable():
    failed = describe_failure({})
    assert (failed.code, failed.retriable) == (FailureCode.ENGINE_FAILED, True)
    assert "no reason given" in failed.detail
