"""Search by meaning with the sentence model of the extra: what is found, and that vectors keep in step with jobs."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from builders import OWNER, submit_reel
from fixtures.api import open_api, until
from fixtures.callers import open_guarded_api
from phoenix.api.background.job_embedding import JobEmbeddingService
from phoenix.contract import JobChanges, JobOptions, JobState
from phoenix.db import Database
from phoenix.embedding.sentence_model import Embedder
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.library.changes import change_job
from phoenix.jobs.library.meaning import (
    MeaningSearch,
    find_vectors,
    list_unembedded,
    search_by_meaning,
    store_vectors,
)
from phoenix.jobs.library.search import JobSearch
from phoenix.jobs.library.vector_indexes import VectorIndexes
from phoenix.jobs.repository import JobFilter
from phoenix.jobs.retention import delete_in_any_state
from phoenix.jobs.tables import JobEmbeddingRow
from phoenix.settings import SearchSettings, Settings

FOX = "a red fox running through deep snow"
CAT = "a sleeping cat indoors on a sofa"
INVOICE = "an invoice for office chairs on a desk"


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    found = Embedder(SearchSettings())
    assert found.fault is None
    yield found
    found.close()


async def test_a_model_without_texts_is_dropped_and_loaded_again_with_the_next() -> None:
    brief = Embedder(SearchSettings(), idle_s=0.05)

    async def is_dropped() -> bool:
        return not brief.is_loaded

    first = await brief.embed([FOX])
    await until(is_dropped)
    again = await brief.embed([FOX])
    brief.close()

    assert again == first


async def submit(database: Database, *prompts: str, owner_id: str = OWNER, **options: Any) -> str:
    return await submit_reel(database, *prompts, owner_id=owner_id, options=JobOptions.model_validate(options))


async def embed_all(database: Database, embedder: Embedder) -> None:
    await JobEmbeddingService(database, embedder).embed()


async def test_a_replica_that_does_not_lead_waits_between_its_attempts(database: Database, embedder: Embedder) -> None:
    service = JobEmbeddingService(database, embedder)

    assert min(service.take_pause_s() for _ in range(3)) >= 1


async def find(
    database: Database,
    embedder: Embedder,
    text: str,
    wanted: JobFilter | None = None,
    *,
    owner_id: str = OWNER,
    **search: Any,
) -> list[str]:
    """Ids of all that is found, gathered from pages of two."""
    meaning = MeaningSearch(await embedder.embed([text]), min_similarity=0.25)
    found: list[str] = []
    cursor = None
    while True:
        page = await search_by_meaning(
            database,
            VectorIndexes(database),
            meaning,
            JobSearch(text, **search),
            wanted or JobFilter(),
            owner_id=owner_id,
            limit=2,
            cursor=cursor,
        )
        found += [job.row.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_a_job_is_found_in_other_words_and_what_is_about_something_else_is_not(
    database: Database, embedder: Embedder
) -> None:
    fox, cat = await submit(database, FOX), await submit(database, CAT)
    await submit(database, INVOICE)
    await embed_all(database, embedder)

    assert await find(database, embedder, "scarlet vulpine sprinting across a white winter field") == [fox]
    assert await find(database, embedder, "a kitten naps") == [cat]


async def test_a_job_with_the_words_and_the_meaning_comes_first(database: Database, embedder: Embedder) -> None:
    both = await submit(database, "a kitten naps")
    about = await submit(database, CAT)
    await embed_all(database, embedder)

    assert await find(database, embedder, "kitten") == [both, about]


async def test_a_job_without_vectors_is_found_by_its_words(database: Database, embedder: Embedder) -> None:
    job = await submit(database, FOX)

    assert await find(database, embedder, "fox") == [job]


async def test_filters_and_owners_narrow_a_search(database: Database, embedder: Embedder) -> None:
    tagged = await submit(database, CAT, tags=["pets"], metadata={"customer": "42"})
    canceled = await submit(database, CAT)
    await submit(database, CAT, owner_id="key_other")
    await embed_all(database, embedder)
    async with database.write() as uow:
        await cancel(uow, canceled, owner_id=OWNER)

    assert await find(database, embedder, "a kitten naps") == [canceled, tagged]
    assert await find(database, embedder, "a kitten naps", tags=["pets"]) == [tagged]
    assert await find(database, embedder, "a kitten naps", JobFilter(state=JobState.CANCELED)) == [canceled]
    async with database.write() as uow:
        await change_job(uow, tagged, JobChanges(favorite=True), owner_id=OWNER)
    assert await find(database, embedder, "a kitten naps", favorite=True) == [tagged]
    assert await find(database, embedder, "a kitten naps", favorite=False) == [canceled]
    assert await find(database, embedder, "a kitten naps", metadata={"customer": "42"}) == [tagged]
    assert await find(database, embedder, "a kitten naps", JobFilter(state=JobState.QUEUED), tags=["pets"]) == [tagged]
    assert await find(database, embedder, "a kitten naps", JobFilter(state=JobState.CANCELED), tags=["pets"]) == []
    assert await find(database, embedder, "a kitten naps", JobFilter(model="another")) == []


async def find_with(indexes: VectorIndexes, database: Database, meaning: MeaningSearch) -> list[str]:
    page = await search_by_meaning(
        database, indexes, meaning, JobSearch(), JobFilter(), owner_id=OWNER, limit=10, cursor=None
    )
    return sorted(job.row.id for job in page.jobs)


async def test_an_index_that_is_full_has_the_newest_jobs(database: Database, embedder: Embedder) -> None:
    await submit(database, CAT)
    await embed_all(database, embedder)
    newer = [await submit(database, CAT) for _ in range(2)]
    await embed_all(database, embedder)
    meaning = MeaningSearch(await embedder.embed(["a kitten naps"]), min_similarity=0.25)

    assert await find_with(VectorIndexes(database, max_vectors=2), database, meaning) == sorted(newer)


async def test_an_index_keeps_up_with_new_changed_and_deleted_jobs(database: Database, embedder: Embedder) -> None:
    deleted, changed = await submit(database, CAT), await submit(database, CAT)
    await embed_all(database, embedder)
    indexes = VectorIndexes(database)
    meaning = MeaningSearch(await embedder.embed(["a kitten naps"]), min_similarity=0.25)
    assert await find_with(indexes, database, meaning) == sorted([deleted, changed])

    async with database.write() as uow:
        await delete_in_any_state(uow, deleted)
        await change_job(uow, changed, JobChanges(title=f"A sleepy kitten: {CAT}"), owner_id=OWNER)
    new = await submit(database, CAT)
    await embed_all(database, embedder)

    assert await find_with(indexes, database, meaning) == sorted([changed, new])


async def test_the_owner_that_searched_last_has_an_index(database: Database, embedder: Embedder) -> None:
    jobs = [await submit(database, CAT, owner_id=owner_id) for owner_id in (OWNER, "key_other")]
    await embed_all(database, embedder)
    indexes = VectorIndexes(database, max_vectors=1)
    query = await embedder.embed(["a kitten naps"])

    sizes = [(await indexes.read(owner_id, query)).num_vectors for owner_id in (OWNER, "key_other", OWNER)]

    assert sizes == [1, 1, 1]
    assert len(jobs) == 2


async def test_pages_follow_on_each_other_while_jobs_arrive(database: Database, embedder: Embedder) -> None:
    jobs = [await submit(database, CAT) for _ in range(3)]
    await embed_all(database, embedder)
    meaning = MeaningSearch(await embedder.embed(["a kitten naps"]), min_similarity=0.25)

    indexes = VectorIndexes(database)

    async def page(cursor: str | None) -> tuple[list[str], str | None]:
        found = await search_by_meaning(
            database, indexes, meaning, JobSearch(), JobFilter(), owner_id=OWNER, limit=2, cursor=cursor
        )
        return [job.row.id for job in found.jobs], found.next_cursor

    first, cursor = await page(None)
    await submit(database, CAT)
    await embed_all(database, embedder)
    second, end = await page(cursor)

    assert sorted(first + second) == sorted(jobs)
    assert end is None


async def test_a_change_of_the_title_has_the_vectors_computed_again(database: Database, embedder: Embedder) -> None:
    job = await submit(database, INVOICE)
    await embed_all(database, embedder)
    assert await find(database, embedder, "a kitten naps") == []
    async with database.write() as uow:
        await change_job(uow, job, JobChanges(title="A sleepy kitten and a cat on the sofa"), owner_id=OWNER)
    assert await find_vectors(database, job, model=embedder.model_name) is None
    await embed_all(database, embedder)

    assert await find(database, embedder, "young felines snooze") == [job]


async def test_two_replicas_that_both_lead_for_a_moment_store_the_vectors_of_a_job_once(
    database: Database, embedder: Embedder
) -> None:
    job_id = await submit(database, FOX)
    jobs = await list_unembedded(database, limit=10)
    made = {job.job_id: (job, await embedder.embed(job.passages)) for job in jobs}

    for _ in range(2):
        async with database.write() as uow:
            await store_vectors(uow, made)

    assert await find_vectors(database, job_id, model=embedder.model_name) == made[job_id][1]


async def test_a_mark_leaves_the_vectors(database: Database, embedder: Embedder) -> None:
    job = await submit(database, CAT)
    await embed_all(database, embedder)
    async with database.write() as uow:
        await change_job(uow, job, JobChanges(favorite=True), owner_id=OWNER)

    assert await find_vectors(database, job, model=embedder.model_name)


async def test_vectors_go_with_their_job(database: Database, embedder: Embedder) -> None:
    job = await submit(database, CAT)
    await embed_all(database, embedder)
    async with database.write() as uow:
        await delete_in_any_state(uow, job)

    [(rows,)] = await database.fetch(select(func.count()).select_from(JobEmbeddingRow))
    assert rows == 0


async def test_texts_are_computed_together_as_they_are_alone(embedder: Embedder) -> None:
    together, alone = await asyncio.gather(embedder.embed([FOX, CAT]), embedder.embed([CAT]))

    difference = [abs(a - b) for a, b in zip(together.data[together.size :], alone.data, strict=True)]
    assert max(min(each, 256 - each) for each in difference) <= 6


async def test_the_api_finds_jobs_like_an_example_also_before_its_vectors_are_computed(api_settings: Settings) -> None:
    async with open_api(api_settings.model_copy(update={"search": SearchSettings()}), leads=False) as api:
        like = (await api.submit("an orange fox in the winter forest"))["id"]
        await api.submit(INVOICE)
        await embed_all(api.services.database, api.state.embedder)
        example = (await api.submit(FOX))["id"]
        early = await api.http.get(f"/v1/jobs?similar_to={example}")
        await embed_all(api.services.database, api.state.embedder)
        late = await api.http.get(f"/v1/jobs?similar_to={example}")
        by_text = await api.http.get("/v1/jobs?q=a+fox+in+the+snow&mode=meaning&limit=1")
        next_page = await api.http.get(by_text.links["next"]["url"])
        unknown = await api.http.get(f"/v1/jobs?similar_to=job_{'0' * 26}")

    assert [[job["id"] for job in each.json()["data"]] for each in (early, late)] == [[like], [like]]
    assert {by_text.json()["data"][0]["id"], next_page.json()["data"][0]["id"]} == {like, example}
    assert unknown.status_code == 404


async def test_nobody_finds_jobs_like_the_job_of_another(api_settings: Settings) -> None:
    settings = api_settings.model_copy(update={"search": SearchSettings()})
    async with open_guarded_api(settings, leads=False) as guarded:
        mine, other = await guarded.caller(), await guarded.caller()
        job_id = (await mine.submit(FOX))["id"]

        assert (await other.http.get(f"/v1/jobs?similar_to={job_id}")).status_code == 404


async def test_the_service_embeds_what_was_submitted(api_settings: Settings) -> None:
    async with open_api(api_settings.model_copy(update={"search": SearchSettings()})) as api:
        job_id = (await api.submit(CAT))["id"]

        async def is_found() -> bool:
            answer = await api.http.get("/v1/jobs?q=a+kitten+naps&mode=meaning")
            return [job["id"] for job in answer.json()["data"]] == [job_id]

        await until(is_found)
