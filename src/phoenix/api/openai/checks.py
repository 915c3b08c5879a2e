"""Checks a request for a video. The errors of its fields, pictures, size and model are reported together."""

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from phoenix.api.errors.validation import explain_validation
from phoenix.api.openai.errors import param_of
from phoenix.api.openai.forms import read_json_text, validate_fields
from phoenix.api.openai.pictures import FILE_FIELD, ReceivedPicture, artifact_ids_of
from phoenix.api.openai.views import explain_in_form, find_form_errors, to_reel, with_known_names
from phoenix.api.submission import Submission
from phoenix.contract import MediaInfo, VideoRequest
from phoenix.contract.valid_part import ValidPart
from phoenix.errors import FieldError, InvalidRequest, Unavailable
from phoenix.settings import VideosSettings


class CheckedFields:
    """Fields with the errors of their form. `part` is what has the right form; None if it says nothing of the rest."""

    def __init__(self, fields: dict[str, Any], settings: VideosSettings) -> None:
        for name in ("clips", "frame_images", "input_references"):
            fields = read_json_text(fields, name)
        self._valid_part: ValidPart[VideoRequest] | None = None
        try:
            part: VideoRequest | None = validate_fields(fields, VideoRequest)
            self.field_errors: Sequence[FieldError] = ()
        except RequestValidationError as error:
            found = explain_validation(error.errors(), body=fields).field_errors
            self.field_errors = [FieldError(f"#{each.pointer}", each.detail) for each in found]
            self._valid_part = ValidPart(VideoRequest, fields, [each["loc"][1:] for each in error.errors()])
            part = self._valid_part.request
        self.part = part and with_known_names(part, settings)

    def is_error_of_body(self, error: FieldError) -> bool:
        """Whether an error of the part's reel is an error of the whole form too."""
        pointer = "/" + (param_of(error.pointer) or "").replace(".", "/")
        return self._valid_part is None or self._valid_part.is_error_of_body(pointer)


async def check_video(
    submission: Submission, fields: CheckedFields, pictures: Sequence[ReceivedPicture]
) -> VideoRequest:
    """The fields as a request. Raises `InvalidRequest` with every error if they, a picture or the size have one.

    The errors that only the model and the artifacts decide are among them. Alone, `Submission.submit` finds them.
    """
    errors = [*fields.field_errors, *(error for picture in pictures for error in picture.field_errors)]
    video = fields.part
    if video is None:
        raise InvalidRequest.from_field_errors(errors)
    if video.clips is not None and (pictures or video.input_reference is not None):
        place = pictures[0].place if pictures else f"/{FILE_FIELD}"
        errors.append(FieldError(place, "with `clips`, each clip has `conditions` of its own; leave this out"))
    services = submission.state.services
    errors += find_form_errors(video, services.catalog, default_model=services.settings.engine.default_model)
    if errors:
        further = await _find_further(submission, video, pictures)
        raise InvalidRequest.from_field_errors([*errors, *filter(fields.is_error_of_body, further)])
    return video


async def _find_further(
    submission: Submission, video: VideoRequest, pictures: Sequence[ReceivedPicture]
) -> Sequence[FieldError]:
    """The errors that need the model and the artifacts, but none of a size or a picture that is wrong by itself."""
    services = submission.state.services
    default_model, ids = services.settings.engine.default_model, artifact_ids_of(pictures)
    if find_form_errors(video, services.catalog, default_model=default_model):
        video = video.model_copy(update={"size": None})
    media: dict[str, MediaInfo] = {picture.artifact_id: picture.info for picture in pictures if picture.info}
    reel = to_reel(video, ids, services.catalog, default_model=default_model)
    try:
        await submission.resolver.resolve(reel, owner_id=submission.caller.owner_id, uploads=media)
    except InvalidRequest as further:
        wrong = {param_of(f"#{picture.place}") for picture in pictures if picture.info is None}
        found = [explain_in_form(video, ids, error) for error in further.field_errors]
        return [error for error in found if param_of(error.pointer) not in wrong]
    except Unavailable:
        pass  # the other errors are known without the database
    return []
