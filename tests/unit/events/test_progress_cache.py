"""Progress snapshots: parsed from Redis, cached in the process, and merged."""

from datetime import timedelta

import pytest

from fixtures.event_examples import JOB_ID, clip_progress, job_started
from phoenix.events.messages import to_message
from phoenix.events.progress_cache import NO_PROGRESS, LocalProgressCache, ProgressSnapshot, parse_progress


def test_a_merge_keeps_the_newest_progress_of_each_clip_and_the_highest_of_the_job() -> None:
    one = ProgressSnapshot(0.5, {0: clip_progress(9, attempt=1), 1: clip_progress(3)})
    other = ProgressSnapshot(0.4, {0: clip_progress(1, attempt=2), 1: clip_progress(2), 2: clip_progress(1)})

    joined = ProgressSnapshot(0.5, {0: clip_progress(1, attempt=2), 1: clip_progress(3), 2: clip_progress(1)})
    assert one.merged_with(other) == other.merged_with(one) == joined


def test_a_hash_without_a_job_field_has_no_job_progress() -> None:
    assert parse_progress({b"0": to_message(clip_progress(4, job_progress=0.2)), b"1": b"?"}).job_progress == 0


@pytest.mark.parametrize("fraction", [b"x", b"", b"nan", b"7"])
def test_a_malformed_job_field_counts_as_no_progress(fraction: bytes) -> None:
    assert parse_progress({b"job": fraction, b"0": to_message(clip_progress(4))}) == ProgressSnapshot(
        0, {0: clip_progress(4)}
    )


def test_received_progress_raises_the_progress_found_in_redis() -> None:
    local_progress = LocalProgressCache()
    local_progress.update(clip_progress(5, job_progress=0.5))
    local_progress.update(job_started(2))

    assert local_progress.merge(JOB_ID, ProgressSnapshot(0.2)) == ProgressSnapshot(
        0.5, {0: clip_progress(5, job_progress=0.5)}
    )
    assert local_progress.merge("another", ProgressSnapshot(0.2)) == ProgressSnapshot(0.2)


def test_the_least_recently_used_job_is_forgotten() -> None:
    local_progress = LocalProgressCache(max_jobs=2)
    for job_id in ("a", "b", "a", "c"):
        local_progress.update(clip_progress(5, job_progress=0.5, job_id=job_id))

    assert [local_progress.merge(job_id, NO_PROGRESS).job_progress for job_id in "abc"] == [0.5, 0, 0.5]


def test_the_time_left_is_the_newest_estimate_less_the_time_since() -> None:
    first = clip_progress(9).model_copy(update={"job_eta_s": 50})
    later = first.model_copy(update={"clip_index": 1, "at": first.at + timedelta(seconds=5), "job_eta_s": 30})
    snapshot = ProgressSnapshot(0.5, {1: later, 0: first})

    assert snapshot.job_left_s(later.at + timedelta(seconds=10)) == 20
    assert snapshot.job_left_s(later.at + timedelta(seconds=99)) == 0
    assert NO_PROGRESS.job_left_s(later.at) is None
