"""Takes of a clip, on both databases: each is a task of its own, the reel shows one, and an edit shows another."""

from collections.abc import Sequence
from typing import Any

import pytest

from builders import FROM_PREVIOUS, OWNER, claim_next, complete_next, get_job, make_reel, submit_reel
from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.contract import ClipState, EditRequest, Job, JobOptions, JobState, ReelRequest, ResolvedReel, Take
from phoenix.db.unit_of_work import Database
from phoenix.errors import InvalidRequest
from phoenix.jobs.lifecycle import TaskState
from phoenix.jobs.reuse import EarlierWork
from phoenix.jobs.submission.edits import as_requested, edit_reel
from phoenix.jobs.submission.submit import submit
from phoenix.jobs.views import view_job
from phoenix.settings import LimitSettings

CATALOG = load_catalog()
THREE = {"prompt": "a", "seed": 5, "takes": 3}
TWO_CLIPS = [{"prompt": "first", "seed": 1}, THREE]


async def finish(database: Database, *, renders: int) -> None:
    for _ in range(renders):
        await complete_next(database)
    await complete_next(database, "media")


async def view(database: Database, job_id: str) -> Job:
    job = await get_job(database, job_id)
    return view_job(job.row, job.tasks, job.output)


def admit(request: ReelRequest) -> ResolvedReel:
    return admit_reel(request, CATALOG, default_model="animatic", limits=AdmissionLimits(), draw_seed=lambda: 7)


async def edit(database: Database, job_id: str, *changes: dict[str, Any]) -> str:
    original = (await get_job(database, job_id)).row.parse_request()
    assert isinstance(original, ResolvedReel)
    request = edit_reel(original, EditRequest.model_validate({"clips": changes}), CATALOG, draw_seed=lambda: 9).request
    async with database.write() as uow:
        job = await submit(
            uow,
            admit(request),
            JobOptions(),
            owner_id=OWNER,
            request_id=None,
            limits=LimitSettings(),
            earlier=EarlierWork(range(9), job_id),
        )
    return job.row.id


def shown(takes: Sequence[Take]) -> list[tuple[int, int, bool]]:
    return [(take.index, take.seed, take.is_shown) for take in takes]


async def test_each_take_is_rendered_with_a_seed_of_its_own_and_shown_with_its_clip(database: Database) -> None:
    job_id = await submit_reel(database, clips=TWO_CLIPS)
    await finish(database, renders=4)

    first, second = (await view(database, job_id)).clips
    assert first.takes == []
    assert shown(second.takes) == [(1, 5, True), (2, 505, False), (3, 1005, False)]
    assert {(take.state, take.url is not None) for take in second.takes} == {(ClipState.SUCCEEDED, True)}
    assert len({take.artifact_id for take in second.takes}) == 3
    assert second.artifact_id == second.takes[0].artifact_id


async def test_the_reel_is_made_of_the_shown_takes_once_all_takes_are_there(database: Database) -> None:
    job_id = await submit_reel(database, clips=TWO_CLIPS)
    for _ in range(3):
        await complete_next(database)
    assert (await get_job(database, job_id)).tasks[-1].state is TaskState.BLOCKED
    await complete_next(database)

    assembly = await complete_next(database, "media")

    clips = (await view(database, job_id)).clips
    assert list(assembly.clip_artifact_ids) == [clip.artifact_id for clip in clips]


async def test_an_edit_shows_another_take_without_rendering(database: Database) -> None:
    original = await submit_reel(database, clips=TWO_CLIPS)
    await finish(database, renders=4)
    seeds = [take.seed for take in (await view(database, original)).clips[1].takes]

    job_id = await edit(database, original, {"op": "take", "index": 1, "take": 2})
    await complete_next(database, "media")

    job = await view(database, job_id)
    assert (job.state, [take.seed for take in job.clips[1].takes]) == (JobState.SUCCEEDED, seeds)
    assert [take.is_shown for take in job.clips[1].takes] == [False, False, True]
    assert all(take.reused for take in job.clips[1].takes)
    assert (job.clips[1].seed, job.clips[0].reused) == (1005, True)


async def test_a_take_can_be_changed_again_in_the_edited_reel(database: Database) -> None:
    original = await submit_reel(database, clips=TWO_CLIPS)
    await finish(database, renders=4)
    edited = await edit(database, original, {"op": "take", "index": 1, "take": 2})
    await complete_next(database, "media")

    again = await edit(database, edited, {"op": "take", "index": 1, "take": 0})

    assert [(clip.seed, clip.reused) for clip in (await view(database, again)).clips] == [(1, True), (5, True)]


async def test_a_clip_continues_the_shown_take_and_takes_continue_the_clip_before(database: Database) -> None:
    job_id = await submit_reel(database, clips=[THREE, {**FROM_PREVIOUS, "takes": 2}])
    tasks = (await get_job(database, job_id)).tasks

    assert [task.prerequisites for task in tasks] == [[], [0], [], [], [0], [0, 1, 2, 3, 4]]
    first = await complete_next(database)
    waiting = [await claim_next(database) for _ in range(4)]
    done = (await get_job(database, job_id)).tasks[first.position].artifact_id
    assert {claim.previous_artifact_id for claim in waiting} == {None, done}


@pytest.mark.parametrize(("take", "clip", "detail"), [(3, 1, "clip 1 has takes 0 to 2"), (1, 0, "clip 0 has no takes")])
def test_a_take_that_is_not_there_is_named(take: int, clip: int, detail: str) -> None:
    request = EditRequest.model_validate({"clips": [{"op": "take", "index": clip, "take": take}]})

    with pytest.raises(InvalidRequest) as refused:
        edit_reel(make_reel(clips=TWO_CLIPS), request, CATALOG, draw_seed=lambda: 9)

    assert refused.value.field_errors[0].pointer == "/clips/0/take"
    assert detail in refused.value.field_errors[0].detail


@pytest.mark.parametrize("take", range(3))
def test_a_reel_with_takes_as_it_was_requested_is_the_same_reel(take: int) -> None:
    reel = make_reel(clips=[{"prompt": "first"}, {**THREE, "take": take}], seed=2**32 - 3)

    assert admit(as_requested(reel, CATALOG)) == reel


def test_a_rerolled_clip_has_as_many_takes_and_shows_the_first() -> None:
    reel = make_reel(clips=[{**THREE, "take": 2}])
    request = EditRequest.model_validate({"clips": [{"op": "reroll", "index": 0}]})

    edited = admit(edit_reel(reel, request, CATALOG, draw_seed=lambda: 9).request)

    assert [(take.seed, take.take) for take in edited.renders] == [(9, 0), (509, 1), (1009, 2)]


def test_a_reel_has_no_more_takes_than_clips_are_possible() -> None:
    with pytest.raises(InvalidRequest, match="at most 500"):
        make_reel(clips=[{"prompt": "a", "takes": 8}] * 63)
