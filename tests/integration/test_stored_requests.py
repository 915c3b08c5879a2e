"""A stored request that is rendered again after the catalog changed: the same clip, or the reason by name."""

from typing import Any

import pytest

from fixtures.open_engine import OpenEngine
from fixtures.renders import digest
from fixtures.tiny_adapters import write_adapter
from fixtures.workplace import OWNER, OpenHarness, WorkerHarness, a_reel
from phoenix.catalog.catalog import Catalog
from phoenix.catalog.request_validation import AdmissionLimits, admit_reel
from phoenix.catalog.stored_entries import restore_adapters, restore_entry, store_entry
from phoenix.catalog.tuning import Scheduler, Tier
from phoenix.contract import JobState, ReelRequest, ResolvedReel, StoredEntry
from phoenix.engine.interface import ClipInputs, NullObserver
from phoenix.errors import Conflict, FailureCode
from phoenix.jobs.cancel_and_retry import cancel, retry
from phoenix.jobs.views import view_job

DRAFT = Tier.model_validate(
    {"steps": 2, "scheduler": {"kind": "FlowMatchEulerDiscreteScheduler", "settings": {"shift": 4.0}}}
)
EDITS: list[dict[str, Any]] = [
    {"tiers": {"draft": DRAFT.model_copy(update={"steps": 4, "scheduler": None})}},
    {"tiers": {}, "scheduler": Scheduler(settings={"flow_shift": 9.0}), "options": {}},
]


@pytest.mark.parametrize("edit", EDITS, ids=["its tier", "the entry"])
def test_a_stored_request_gives_the_same_frames_after_an_edit_of_the_catalog(tiny_wan, tmp_path, edit):
    film = write_adapter(tmp_path / "film", tiny_wan, "film", seed=1)
    model = tiny_wan.model_copy(update={"tiers": {"draft": DRAFT}})
    before, after = Catalog([model], [film]), Catalog([model.model_copy(update=edit)], [film])
    body = {"clips": [{"prompt": "a cat"}], "quality": "draft", "loras": [{"id": "film"}]}
    request, engine = ReelRequest.model_validate(body), OpenEngine()

    def accept(catalog: Catalog) -> ResolvedReel:
        return admit_reel(request, catalog, default_model=model.id, limits=AdmissionLimits(), draw_seed=lambda: 7)

    def frames(reel: ResolvedReel, catalog: Catalog) -> str:
        clip, entry = reel.clips[0], restore_entry(reel, catalog)
        inputs = ClipInputs(clip, entry, adapters=restore_adapters(clip, reel, catalog))
        return digest(engine.render(inputs, NullObserver()))

    reel = accept(before)
    assert frames(reel, after) == frames(reel, before)
    if edit["tiers"]:
        assert frames(accept(after), after) != frames(reel, before)
    assert len(engine.loads) == 1
    engine.close()


def moved_entry(harness: WorkerHarness) -> StoredEntry:
    """The animatic, as if it had come from a folder that the catalog does not name."""
    entry = store_entry(harness.services.catalog.get("animatic"))
    return entry.model_copy(update={"fields": entry.fields | {"source": "/models/old"}})


async def test_a_clip_whose_source_left_the_catalog_fails_with_the_source(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel(entry=moved_entry(harness))))
    assert job.row.state is JobState.FAILED
    assert job.row.error is not None
    assert job.row.error["code"] == FailureCode.MODEL_UNAVAILABLE
    assert "came from /models/old when the request was accepted" in job.row.error["message"]


async def test_a_finished_clip_says_which_versions_made_it(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    async with harness.worker():
        job = await harness.until_ended(await harness.submit(a_reel()))
    (clip,) = view_job(job.row, job.tasks, job.output).clips
    assert clip.made_with.keys() == {"phoenix", "ffmpeg", "numpy", "pillow"}


async def test_a_retry_is_refused_if_the_source_of_the_model_left_the_catalog(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    job_id = await harness.submit(a_reel(entry=moved_entry(harness)))
    async with harness.services.database.write() as uow:
        await cancel(uow, job_id, owner_id=OWNER)
    with pytest.raises(Conflict, match="The job cannot be tried again: the model animatic came from /models/old"):
        async with harness.services.database.write() as uow:
            await retry(uow, job_id, owner_id=OWNER, queue_timeout_s=60, catalog=harness.services.catalog)


async def test_a_client_sees_the_name_of_a_folder_and_not_its_place(open_harness: OpenHarness) -> None:
    harness = await open_harness()
    job = await harness.job(await harness.submit(a_reel(entry=moved_entry(harness))))
    request = view_job(job.row, job.tasks, job.output).request
    assert isinstance(request, ResolvedReel)
    assert request.entry is not None
    assert request.entry.fields["source"] == "old"
