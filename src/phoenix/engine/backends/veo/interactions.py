"""The interactions that make videos with Gemini Omni: the request, and the outcome.

An interaction in the background is started and polled like an operation of Veo. Google documents its fields in the page
about the Interactions API, and the media of each task in the notebooks about Gemini Omni.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from google.genai import Client

from phoenix.engine.backends.veo.errors import ResponseLost, describe_failure, describe_unnumbered
from phoenix.engine.backends.veo.outcome import OperationResult, check_size, no_video
from phoenix.engine.backends.veo.request import VeoRequest

UNFINISHED = ("queued", "in_progress")


def start_interaction(client: Client, request: VeoRequest) -> str | None:
    """Sends a request, which is billed. Returns the id of the interaction, or None if the response has none."""
    # The overloads of the SDK return an interaction or a stream of events.
    interactions: Any = client.interactions
    begun = interactions.create(
        model=request.model,
        input=[{"type": "text", "text": request.prompt}, *_media(request)],
        background=True,
        generation_config={"seed": request.seed, "video_config": {"task": _task(request)}},
        response_format={
            "type": "video",
            "aspect_ratio": request.aspect_ratio,
            "resolution": request.resolution,
            "duration": f"{request.duration_s}s",
            "delivery": "inline",
        },
    )
    return begun.id or None


def find_interaction(client: Client, interaction_id: str, *, max_video_bytes: int) -> OperationResult | None:
    """Returns the outcome of the interaction; None while it is running. Raises `ResponseLost`."""
    interactions: Any = client.interactions
    found = interactions.get(id=interaction_id)
    if not found.status:
        raise ResponseLost("Google responded without the status of the clip")
    if found.status in UNFINISHED:
        return None
    if found.status == "completed":
        return _read(found, max_video_bytes)
    return _describe(found)


def _media(request: VeoRequest) -> Iterator[dict[str, str]]:
    """Yields the media of the task: the first frame before the last frame, because the order gives them their roles."""
    for jpeg in (request.first_frame, request.last_frame, *request.references):
        if jpeg:
            yield {"type": "image", "mime_type": "image/jpeg", "data": base64.b64encode(jpeg).decode()}
    if request.source_video:
        yield {"type": "video", "mime_type": "video/mp4", "data": base64.b64encode(request.source_video).decode()}


def _task(request: VeoRequest) -> str:
    if request.source_video:
        return "edit"
    if request.first_frame:
        return "image_to_video"
    return "reference_to_video" if request.references else "text_to_video"


def _read(found: Any, max_video_bytes: int) -> OperationResult:
    contents = [each for step in _outputs(found) for each in step.content or ()]
    video = next((each for each in contents if each.type == "video"), None)
    if video is None:
        text = " ".join(each.text for each in contents if each.type == "text" and each.text)
        return OperationResult(describe_unnumbered(text or "no video, and no reason given"))
    if not video.data:
        return no_video(f"Google left the video at {video.uri or 'an unknown place'} instead of sending it")
    try:
        return check_size(base64.b64decode(video.data, validate=True), max_video_bytes)
    except binascii.Error as error:
        return no_video(f"Google's video cannot be used: {error}")


def _describe(found: Any) -> OperationResult:
    """Returns the failure of an interaction that ended in another way than with a video."""
    numbered = next((step.error for step in _outputs(found) if step.error and step.error.code), None)
    if numbered is not None:
        return OperationResult(describe_failure({"code": numbered.code, "message": numbered.message}))
    messages = [error.message for error in found.errors or () if error.message]
    return OperationResult(describe_unnumbered("; ".join(messages) or f"the interaction ended as {found.status}"))


def _outputs(found: Any) -> list[Any]:
    return [step for step in found.steps or () if step.type == "model_output"]
