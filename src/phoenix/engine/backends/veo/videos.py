"""The long-running operations that make videos with Veo: the request, and the outcome.

`last_frame` and `reference_images` are part of the configuration, and the first frame is part of the source.
"""

from google.genai import Client, types

from phoenix.engine.backends.veo.errors import describe_failure, moderated
from phoenix.engine.backends.veo.outcome import OperationResult, check_size, no_video
from phoenix.engine.backends.veo.request import VeoRequest


def start_operation(client: Client, request: VeoRequest) -> str | None:
    """Sends a request, which is billed. Returns the name of the operation, or None if the response has none."""
    source = types.GenerateVideosSource(prompt=request.prompt, image=_image(request.first_frame))
    return client.models.generate_videos(model=request.model, source=source, config=_config(request)).name


def find_operation(client: Client, name: str, *, max_video_bytes: int) -> OperationResult | None:
    """Returns the outcome of the operation; None while it is running."""
    found = client.operations.get(types.GenerateVideosOperation.model_validate({"name": name}))
    if not found.done:
        return None
    if found.error:
        return OperationResult(describe_failure(found.error))
    return _read(found.response or types.GenerateVideosResponse(), max_video_bytes)


def _read(response: types.GenerateVideosResponse, max_video_bytes: int) -> OperationResult:
    video = next((made.video for made in response.generated_videos or () if made.video), None)
    if video is None:
        if response.rai_media_filtered_count or response.rai_media_filtered_reasons:
            return OperationResult(moderated("; ".join(response.rai_media_filtered_reasons or ()) or "no reason given"))
        return no_video("Google made no video, and gave no reason")
    if not video.video_bytes:
        return no_video(f"Google left the video at {video.uri or 'an unknown place'} instead of sending it")
    return check_size(video.video_bytes, max_video_bytes)


def _config(request: VeoRequest) -> types.GenerateVideosConfig:
    return types.GenerateVideosConfig(
        number_of_videos=1,
        duration_seconds=request.duration_s,
        aspect_ratio=request.aspect_ratio,
        resolution=request.resolution,
        seed=request.seed,
        negative_prompt=request.negative_prompt,
        generate_audio=request.generate_audio,
        person_generation=request.person_generation,
        last_frame=_image(request.last_frame),
        reference_images=[_reference(jpeg) for jpeg in request.references] or None,
    )


def _image(jpeg: bytes | None) -> types.Image | None:
    return types.Image(image_bytes=jpeg, mime_type="image/jpeg") if jpeg else None


def _reference(jpeg: bytes) -> types.VideoGenerationReferenceImage:
    asset = types.VideoGenerationReferenceType.ASSET
    return types.VideoGenerationReferenceImage(image=_image(jpeg), reference_type=asset)
