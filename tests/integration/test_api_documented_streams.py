"""The bytes of each stream against the document of version 3.2, by a validator that knows nothing of Phoenix."""

from builders import complete_next
from fixtures.api import Api, LiveStream, open_stream
from fixtures.exact_document import EXACT_DOCUMENT

JOB_MESSAGE = "#/components/schemas/JobEventMessage"


async def finish(api: Api) -> None:
    await complete_next(api.services.database)
    await complete_next(api.services.database, "media")


async def test_the_stream_of_a_job_is_as_documented(api: Api) -> None:
    job = await api.submit()
    async with open_stream(api, f"/v1/jobs/{job['id']}/events") as stream:
        await stream.until("event: snapshot")
        await finish(api)
        events = EXACT_DOCUMENT.check_stream(JOB_MESSAGE, await stream.until_end())

    assert (events[0], events[-1]) == ("snapshot", "job.succeeded")
    assert "clip.succeeded" in events


async def test_the_stream_of_all_jobs_is_as_documented(api: Api) -> None:
    async with open_stream(api, "/v1/events") as stream:
        await stream.until("id: ")
        await api.submit()
        await finish(api)
        await stream.until("event: job.succeeded")
        events = EXACT_DOCUMENT.check_stream(JOB_MESSAGE, stream.text.rpartition("\n\n")[0])

    assert {"job.queued", "clip.succeeded"} <= set(events)


async def test_the_stream_of_a_storyboard_is_as_documented(api: Api) -> None:
    stream = LiveStream(api.app, "/v1/storyboards", method="POST", body={"idea": "A red balloon finds the sea."})

    events = EXACT_DOCUMENT.check_stream("#/components/schemas/StoryboardEventMessage", await stream.until_end())

    assert events == ["storyboard", "storyboard.written"]
