"""A reel from prompt to file with the client that openapi-python-client makes. Arguments: the server's URL."""

import json
import sys

from phoenix_client import AuthenticatedClient
from phoenix_client.api.content import get_job_content
from phoenix_client.api.events import stream_job_events
from phoenix_client.api.jobs import cancel_job, list_jobs
from phoenix_client.api.reels import create_reel
from phoenix_client.models import ClipRequest, Job, JobPage, Problem, ReelRequest
from phoenix_client.types import File

# What takes another token than a key too is generated for this kind of client only. The server here needs no key.
client = AuthenticatedClient(base_url=sys.argv[1], token="none")

created = create_reel.sync(client=client, body=ReelRequest(clips=[ClipRequest(prompt="a red balloon", duration_s=1)]))
assert isinstance(created, Job)
events: list[str] = []
# What is generated for a stream reads it to its end, so the raw request is made with the generated arguments.
with client.get_httpx_client().stream(**stream_job_events._get_kwargs(created.id)) as stream:
    events.extend(line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: "))

content = get_job_content.sync(created.id, client=client)
assert isinstance(content, File)
long = [ClipRequest(prompt="the sea", duration_s=9)] * 9
other = create_reel.sync(client=client, body=ReelRequest(clips=long), idempotency_key="once")
assert isinstance(other, Job)
canceled = cancel_job.sync(other.id, client=client)
assert isinstance(canceled, Job)
page = list_jobs.sync(client=client, limit=100)
assert isinstance(page, JobPage)
refused = create_reel.sync(client=client, body=ReelRequest(clips=[]))
assert isinstance(refused, Problem)

found = {
    "events": events,
    "bytes": len(content.payload.read()),
    "is_canceled": canceled.cancel_requested or canceled.state == "canceled",
    "is_listed": created.id in [job.id for job in page.data],
    "refused": refused.errors[0].pointer,
}
sys.stdout.write(json.dumps(found) + "\n")
