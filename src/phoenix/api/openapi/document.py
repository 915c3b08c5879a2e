"""Builds the OpenAPI document: FastAPI's own, completed for code generators."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from phoenix.api.openapi.postprocess import operations_of, postprocess
from phoenix.api.openapi.webhooks import PAYLOADS, describe_webhooks
from phoenix.api.routes.uploads import UPLOAD_SCHEMA
from phoenix.contract.events import EventPage, JobEvent
from phoenix.contract.problems import Problem
from phoenix.contract.videos import VideoProblem, VideoRemixRequest, VideoRequest

TAGS: list[dict[str, str]] = [
    {"name": "reels", "description": "Prompts in, one video out."},
    {"name": "stitches", "description": "Joining existing videos."},
    {"name": "soundtracks", "description": "Preparing a sound for later use."},
    {"name": "jobs", "description": "Finding, canceling, retrying and deleting jobs."},
    {"name": "events", "description": "Following jobs live."},
    {"name": "content", "description": "The bytes of results, clips and uploads."},
    {"name": "artifacts", "description": "Uploads, and the metadata of stored files."},
    {"name": "models", "description": "The models to render with."},
    {"name": "webhooks", "description": "Being notified when jobs end."},
    {"name": "videos", "description": "Reels as OpenAI's SDKs ask for them; their errors are not problem+json."},
    {"name": "fleet", "description": "Queues and workers."},
    {"name": "health", "description": "For load balancers."},
]

DESCRIPTION = """\
Video generation on your own machines. Post a **reel** and get a job id at once; follow the job with an `EventSource`
on `/v1/jobs/{job_id}/events`; download the result.

Every answer that is not 2xx is `application/problem+json` (under `/v1/videos`, what OpenAI's SDKs read), and every
answer carries `X-Request-ID`.
"""


def build_document(app: FastAPI) -> dict[str, Any]:
    """The full document, from which `openapi_versions` derives the published ones."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=app.servers,
        license_info=app.license_info,
    )
    components = document["components"]
    components["schemas"] = {**_schemas(), **components["schemas"]}
    for operation in operations_of(document):
        _split_docstring(operation)
    postprocess(document)
    document["webhooks"] = describe_webhooks()
    return document


def _split_docstring(operation: dict[str, Any]) -> None:
    """Takes the summary from the first line of a route's docstring; FastAPI guesses it from the function's name."""
    summary, _, description = operation["description"].partition("\n")
    operation["summary"] = summary.rstrip(".")
    operation["description"] = " ".join(description.split())


def _schemas() -> dict[str, Any]:
    """Components that no route declares as its model: errors, and events of streams."""
    views: list[type[BaseModel]] = [Problem, JobEvent, EventPage, VideoProblem, *PAYLOADS]
    bodies: list[type[BaseModel]] = [VideoRequest, VideoRemixRequest]
    _, found = models_json_schema(
        [*((body, "validation") for body in bodies), *((view, "serialization") for view in views)],
        ref_template="#/components/schemas/{model}",
    )
    return {**found["$defs"], "Upload": UPLOAD_SCHEMA}
