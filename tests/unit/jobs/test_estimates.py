"""What a planned reel takes and costs, from learned durations and the prices of the server."""

from datetime import UTC, datetime
from typing import Any

import pytest

from builders import make_reel
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.model import ModelSpec
from phoenix.contract import JobState, ResolvedReel, WaitingCode, WaitingReason
from phoenix.contract.estimates import WorkEstimate
from phoenix.db import change_new_row
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.repository import FullJob
from phoenix.jobs.scheduling.durations import NO_DURATIONS, DurationPerWeight, DurationStats
from phoenix.jobs.submission.estimates import Prices, estimate_work
from phoenix.jobs.submission.submit import plan_tasks
from phoenix.jobs.tables import JobRow
from phoenix.jobs.views import QueuePosition
from phoenix.settings import PriceSettings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANIMATIC = DurationStats({}, {"animatic": DurationPerWeight(0.1)})
FREE = Prices("EUR")
AHEAD = WaitingReason(code=WaitingCode.AHEAD, detail="2 jobs will start before this one.")
SOON = QueuePosition(2, AHEAD, eta_s=60.0, wait_s=30.2)


def estimate(
    reel: ResolvedReel,
    durations: DurationStats = ANIMATIC,
    prices: Prices = FREE,
    position: QueuePosition | None = SOON,
    *,
    reused: tuple[int, ...] = (),
) -> WorkEstimate:
    job = JobRow(
        id="job_1", owner_id="key_a", kind="reel", state=JobState.QUEUED, request={}, created_at=NOW, queued_at=NOW
    )
    tasks = plan_tasks(job, reel)
    for index in reused:
        change_new_row(tasks[index], state=TaskState.SUCCEEDED)
    return estimate_work(FullJob(job, tasks, output=None), reel, durations, prices, position)


def reasons(made: WorkEstimate) -> dict[str, str]:
    return {each.name: each.detail for each in made.unknown}


def remote(**changes: Any) -> ResolvedReel:
    return make_reel("a", "b").model_copy(update={"is_remote": True, "model": "veo-3.1", **changes})


def test_the_plan_has_the_frames_and_the_length_of_the_result() -> None:
    made = estimate(make_reel("a", "b", transition={"kind": "crossfade", "duration_s": 0.5}))

    assert (made.duration_s, made.num_frames, made.renders) == (1.5, 32, 2)
    assert [(clip.index, clip.num_frames, clip.takes) for clip in made.clips] == [(0, 16, 1), (1, 16, 1)]


def test_the_device_time_is_that_of_all_takes() -> None:
    one = estimate(make_reel("a", resolution="480p", steps=20))
    three = estimate(make_reel(resolution="480p", steps=20, clips=[{"prompt": "a", "takes": 3}]))

    # 0.1 s for each step, frame and megapixel.
    assert one.render_s == pytest.approx(0.1 * 20 * 16 * 854 * 480 / 1e6, abs=0.5)
    assert (three.renders, three.clips[0].takes) == (3, 3)
    assert three.render_s == pytest.approx(3 * (one.render_s or 0), abs=3)


def test_a_reused_clip_takes_no_device_time() -> None:
    whole, part = estimate(make_reel("a", "b")), estimate(make_reel("a", "b"), reused=(0,))

    assert (part.renders, [clip.reused for clip in part.clips]) == (1, [1, 0])
    assert part.clips[0].render_s == 0
    assert part.render_s is not None
    assert part.render_s < (whole.render_s or 0)


def test_a_model_that_was_never_used_has_no_figures_and_says_so() -> None:
    made = estimate(make_reel("a"), NO_DURATIONS, Prices("EUR", 2.5), QueuePosition(2, AHEAD, None, 30.0))

    assert (made.render_s, made.price, made.eta_s, made.wait_s) == (None, None, None, 30.0)
    assert reasons(made) == dict.fromkeys(
        ("render_s", "price", "eta_s"), "No clip of animatic has been rendered here yet."
    )


def test_the_wait_is_known_or_has_its_reason() -> None:
    nobody = WaitingReason(code=WaitingCode.NO_WORKER_FOR_QUEUE, detail="No live worker takes tasks of the queue gpu.")

    assert estimate(make_reel("a")).wait_s == 30
    assert "wait_s" not in reasons(estimate(make_reel("a")))
    assert reasons(estimate(make_reel("a"), position=QueuePosition(0, nobody)))["wait_s"] == nobody.detail
    assert reasons(estimate(make_reel("a"), position=QueuePosition(2, AHEAD)))["eta_s"] == (
        "How long the work before it takes is not known."
    )
    assert reasons(estimate(make_reel("a"), position=QueuePosition()))["eta_s"] == "The queue cannot be read now."


def test_a_reel_that_is_held_waits_for_its_draft() -> None:
    made = estimate(make_reel("a"), position=None)

    assert (made.wait_s, made.eta_s, made.queue_position) == (None, None, None)
    assert reasons(made)["eta_s"] == "It waits for the approval of its draft."
    assert made.render_s is not None


def test_the_price_is_that_of_the_device_time() -> None:
    made = estimate(
        make_reel("a", steps=100), DurationStats({}, {"animatic": DurationPerWeight(5.0)}), Prices("EUR", 3)
    )

    assert made.price is not None
    assert made.price.amount == pytest.approx(5 * 100 * 16 * 854 * 480 / 1e6 / 3600 * 3, rel=1e-3)
    assert (made.price.currency, made.price.basis) == ("EUR", "device_hour")


def test_a_remote_model_costs_its_list_price_and_only_for_what_is_rendered() -> None:
    prices = Prices("USD", device_hour=99, second_of_video=0.4)

    both, one = estimate(remote(), prices=prices).price, estimate(remote(), prices=prices, reused=(1,)).price

    assert both is not None
    assert one is not None
    assert (both.amount, one.amount, both.basis) == (0.8, 0.4, "list_price")


def test_without_a_price_the_reason_says_what_to_set() -> None:
    assert "PHOENIX_PRICES__DEVICE_HOUR" in reasons(estimate(make_reel("a")))["price"]
    assert "price_per_s" in reasons(estimate(remote(), prices=Prices("USD", 3)))["price"]


def test_only_a_remote_model_has_a_list_price() -> None:
    animatic = load_catalog().get("animatic")
    with pytest.raises(ValueError, match="PHOENIX_PRICES__DEVICE_HOUR"):
        ModelSpec.model_validate({**animatic.model_dump(), "price_per_s": 0.4})


def test_an_hour_of_a_model_is_the_price_of_all_its_devices() -> None:
    settings = PriceSettings(device_hour=3)
    assert Prices.from_settings(settings, second_of_video=None, devices=4).device_hour == 12
    assert Prices.from_settings(PriceSettings(), second_of_video=None, devices=4).device_hour is None
