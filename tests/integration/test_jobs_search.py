"""The search over jobs on both databases: what is found, in which order, and that the index keeps in step."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from builders import OWNER, get_job, submit_reel
from phoenix.contract import JobChanges, JobOptions, JobState
from phoenix.db import Database
from phoenix.errors import MalformedRequest
from phoenix.jobs.cancel_and_retry import cancel
from phoenix.jobs.library.changes import change_job
from phoenix.jobs.library.search import JobSearch, search_jobs
from phoenix.jobs.repository import JobFilter
from phoenix.jobs.retention import delete_in_any_state, delete_job

ODD_TEXTS = [
    *('"', "a OR", "NEAR(", "title:x", "-fox", "*", "'; DROP TABLE jobs", "(((", "^", "fox & | !", ":*", "\\", "%_"),
    *("x\0y", "\ud7ff\ue000", "🎈", "赤い", "{title} : x", "''", "<->", "'a':B", "a " * 100, "!!"),
]


async def submit(database: Database, *prompts: str, owner_id: str = OWNER, **options: Any) -> str:
    return await submit_reel(database, *prompts, owner_id=owner_id, options=JobOptions.model_validate(options))


async def find(
    database: Database,
    text: str | None = None,
    wanted: JobFilter | None = None,
    *,
    owner_id: str = OWNER,
    **search: Any,
) -> list[str]:
    """Ids of all that is found, gathered from pages of two."""
    found: list[str] = []
    cursor = None
    while True:
        page = await search_jobs(
            database, JobSearch(text, **search), wanted or JobFilter(), owner_id=owner_id, limit=2, cursor=cursor
        )
        found += [job.row.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def change(database: Database, job_id: str, **changes: Any) -> None:
    async with database.write() as uow:
        await change_job(uow, job_id, JobChanges.model_validate(changes), owner_id=OWNER)


async def test_a_job_is_found_by_all_of_its_words_in_any_order_case_and_accent(database: Database) -> None:
    cafe = await submit(database, "a RED balloon over the Café", "the sea")
    await submit(database, "a red kite")

    assert await find(database, "SEA red") == [cafe]
    assert await find(database, "cafe") == await find(database, "CAFÉ") == [cafe]
    assert await find(database, "red harbour") == []


async def test_words_in_quotes_follow_each_other(database: Database) -> None:
    near = await submit(database, "a red balloon")
    far = await submit(database, "a red and a blue balloon")

    assert await find(database, '"red balloon"') == [near]
    assert await find(database, "red balloon") == [far, near]


async def test_characters_of_a_script_without_spaces_are_found_within_a_text(database: Database) -> None:
    job = await submit(database, "港の上の赤い風船")
    await submit(database, "船の風")

    assert await find(database, "風船") == [job]
    assert await find(database, "赤い 港") == [job]


async def test_jobs_with_the_words_in_their_title_come_first_and_beginnings_last(database: Database) -> None:
    in_title = await submit(database, "x", title="Red balloon")
    in_tags = await submit(database, "a balloon", tags=["red", "balloon"])
    longer = await submit(database, "red balloons")
    newest = await submit(database, "balloon, red")
    older = await submit(database, "red kite", "balloon")

    assert await find(database, "red balloon") == [in_tags, in_title, older, newest, longer]


async def test_metadata_are_found_by_their_words_and_by_their_exact_values(database: Database) -> None:
    job = await submit(database, "x", metadata={"customer": "Acme Ltd", "n": "4"})
    other = await submit(database, "x", metadata={"customer": "Acme"})

    assert await find(database, "acme") == [other, job]
    assert await find(database, metadata={"customer": "Acme Ltd", "n": "4"}) == [job]
    assert await find(database, metadata={"customer": "acme"}) == []
    assert await find(database, metadata={"n": "Acme Ltd"}) == []


async def test_tags_favorites_and_the_filters_of_a_list_narrow_a_search(database: Database) -> None:
    both = await submit(database, "balloon", tags=["Sea", "dawn"])
    one = await submit(database, "balloon", tags=["sea"])
    await change(database, both, favorite=True)
    async with database.write() as uow:
        await cancel(uow, one, owner_id=OWNER)

    assert await find(database, tags=["SEA"]) == [one, both]
    assert await find(database, "balloon", tags=["sea", "dawn"]) == [both]
    assert await find(database, favorite=True) == [both]
    assert await find(database, "balloon", favorite=False) == [one]
    assert await find(database, "balloon", JobFilter(state=JobState.CANCELED)) == [one]
    assert await find(database, "balloon", JobFilter(kind="stitch")) == []


async def test_a_word_of_the_title_is_no_tag(database: Database) -> None:
    await submit(database, "sea", title="sea")

    assert await find(database, tags=["sea"]) == []


async def test_no_owner_finds_what_another_one_has(database: Database) -> None:
    await submit(database, "balloon", tags=["sea"], owner_id="another")

    assert await find(database, "balloon") == await find(database, tags=["sea"]) == []
    assert len(await find(database, "balloon", owner_id="another")) == 1


async def test_a_changed_job_is_found_by_what_it_has_now(database: Database) -> None:
    job = await submit(database, "balloon", title="Old", tags=["sea"], metadata={"a": "first"})

    await change(database, job, title="New", tags=["dawn"], metadata={"a": "second"})

    for search in ("old", "sea", "first"):
        assert await find(database, search) == []
    for search in ("new", "dawn", "second", "balloon"):
        assert await find(database, search) == [job]
    assert await find(database, tags=["sea"]) == []


async def test_a_change_that_is_undone_leaves_the_index_as_it_was(database: Database) -> None:
    job = await submit(database, "balloon")

    async with database.write() as uow:
        await change_job(uow, job, JobChanges(title="New"), owner_id=OWNER)
        await uow.session.flush()
        await uow.session.rollback()

    assert (await find(database, "new"), await find(database, "balloon")) == ([], [job])


async def test_a_deleted_job_leaves_nothing_in_the_index(database: Database) -> None:
    gone, kept = await submit(database, "balloon"), await submit(database, "balloon")
    async with database.write() as uow:
        await cancel(uow, gone, owner_id=OWNER)
    async with database.write() as uow:
        await delete_job(uow, gone, owner_id=OWNER)

    assert await find(database, "balloon") == [kept]
    async with database.write() as uow:
        await delete_in_any_state(uow, kept)
    async with database.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM job_words"))).scalar() == 0
    assert await find(database, "balloon") == []


@pytest.mark.parametrize("odd", ODD_TEXTS)
async def test_every_text_is_answered(database: Database, odd: str) -> None:
    job = await submit(database, "a fox & its x, 赤い")

    assert await find(database, odd) in ([], [job])


async def test_pages_neither_repeat_nor_skip_while_jobs_arrive_change_and_go(database: Database) -> None:
    jobs = [await submit(database, "balloon", title="balloon" if number % 2 else "x") for number in range(6)]
    expected = [*jobs[5::-2], *jobs[4::-2]]
    pages: list[Sequence[str]] = []
    cursor = None
    for number in range(3):
        page = await search_jobs(database, JobSearch("balloon"), JobFilter(), owner_id=OWNER, limit=2, cursor=cursor)
        pages.append([job.row.id for job in page.jobs])
        cursor = page.next_cursor
        await submit(database, f"balloon {number}", title="balloon")
        async with database.write() as uow:
            await delete_in_any_state(uow, page.jobs[-1].row.id)

    assert [job_id for ids in pages for job_id in ids] == expected


@pytest.mark.parametrize("cursor", ["am9iXzE", "", "MC4", "OS4x", "MC4nIE9S", "\0"])
async def test_a_made_up_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(MalformedRequest, match="cursor"):
        await search_jobs(database, JobSearch("x"), JobFilter(), owner_id=OWNER, limit=2, cursor=cursor)


async def test_a_very_long_reel_is_stored_and_found(database: Database) -> None:
    ideographs = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 4000))
    prompts = [ideographs, "z" * 4000, *(chr(0x20000 + number) * 4000 for number in range(100))]

    job = await submit(database, *prompts)

    assert await find(database, ideographs[:20]) == [job]
    assert len((await get_job(database, job)).row.search_text) <= 100_000
