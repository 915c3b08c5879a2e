"""A reel from prompt to file with the client that openapi-generator makes. Arguments: the server's URL."""

import json
import sys

from phoenix_api import ApiClient, ClipRequest, Configuration, ReelRequest
from phoenix_api.api import ContentApi, EventsApi, JobsApi, ReelsApi
from phoenix_api.exceptions import ApiException

with ApiClient(Configuration(host=sys.argv[1])) as client:
    reels, jobs = ReelsApi(client), JobsApi(client)
    created = reels.create_reel(ReelRequest(clips=[ClipRequest(prompt="a red balloon", duration_s=1)]))
    stream = EventsApi(client).stream_job_events_without_preload_content(created.id)
    lines = b"".join(stream.stream()).decode().splitlines()
    content = ContentApi(client).get_job_content(created.id)
    long = [ClipRequest(prompt="the sea", duration_s=9)] * 9
    canceled = jobs.cancel_job(reels.create_reel(ReelRequest(clips=long)).id)
    try:
        jobs.get_job("job_" + "0" * 26)
        missing = 200
    except ApiException as error:
        missing = error.status

found = {
    "events": [line.removeprefix("event: ") for line in lines if line.startswith("event: ")],
    "bytes": len(content),
    "is_canceled": canceled.cancel_requested or canceled.state == "canceled",
    "is_listed": created.id in [job.id for job in jobs.list_jobs(limit=100).data],
    "missing": missing,
}
sys.stdout.write(json.dumps(found) + "\n")
