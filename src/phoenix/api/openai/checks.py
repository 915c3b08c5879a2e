"""Checks a request for a video. The errors of its fields, picture, size and model are reported together."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile

from phoenix.api.errors.validation import explain_validation
from phoenix.api.http.multipart import ReceivedFile
from phoenix.api.lifespan import AppState
from phoenix.api.openai.errors import param_of
from phoenix.api.openai.forms import FILE_FIELD, read_json_text, save_picture, validate_fields
from phoenix.api.openai.views import find_size_error, to_reel
from phoenix.api.submission import Submission
from phoenix.api.uploads import probe_upload
from phoenix.contract import MediaInfo, VideoReference, VideoRequest
from phoenix.contract.valid_part import ValidPart
from phoenix.errors import FieldError, InvalidRequest, Unavailable
from phoenix.ids import new_artifact_id


@dataclass(frozen=True)
class FormPicture:
    """The picture in a form. `info` is None if the file is not a picture; `field_errors` says why."""

    received: ReceivedFile
    sha256: str
    info: MediaInfo | None
    field_errors: Sequence[FieldError] = ()


@asynccontextmanager
async def receive_picture(state: AppState, picture: UploadFile | None) -> AsyncGenerator[FormPicture | None]:
    """The picture of a form, as a file until the block ends. None if the form has none."""
    if picture is None:
        yield None
        return
    with TemporaryDirectory(prefix="phoenix-upload-", ignore_cleanup_errors=True) as folder:
        saved = await asyncio.to_thread(save_picture, picture, Path(folder) / FILE_FIELD)
        try:
            found = FormPicture(saved.file, saved.sha256, await probe_upload(state, saved.file.path))
        except InvalidRequest as refusal:
            found = FormPicture(saved.file, saved.sha256, None, refusal.field_errors)
        yield found


async def check_video(submission: Submission, fields: dict[str, Any], picture: FormPicture | None) -> VideoRequest:
    """The fields as a request. Raises `InvalidRequest` with every error if they, the picture or the size have one.

    The errors that only the model and the artifacts decide are among them. Alone, `Submission.submit` finds them.
    """
    form = _CheckedFields(fields)
    errors = [*form.field_errors, *(picture.field_errors if picture else ())]
    if form.part is None:
        raise InvalidRequest.from_field_errors(errors)
    if form.part.clips is not None and (picture is not None or form.part.input_reference is not None):
        detail = "with `clips`, each clip has `conditions` of its own; leave this out"
        errors.append(FieldError(f"/{FILE_FIELD}", detail))
    if (wrong_size := _find_size_error(submission, form.part)) is not None:
        errors.append(wrong_size)
    if errors:
        further = await _find_further(submission, form.part, picture)
        raise InvalidRequest.from_field_errors([*errors, *filter(form.is_error_of_body, further)])
    return form.part


class _CheckedFields:
    """Fields with the errors of their form. `part` is what has the right form; None if it says nothing of the rest."""

    def __init__(self, fields: dict[str, Any]) -> None:
        fields = read_json_text(fields, "clips")
        self._valid_part: ValidPart[VideoRequest] | None = None
        try:
            self.part: VideoRequest | None = validate_fields(fields, VideoRequest)
            self.field_errors: Sequence[FieldError] = ()
        except RequestValidationError as error:
            self.field_errors = explain_validation(error.errors(), body=fields).field_errors
            self._valid_part = ValidPart(VideoRequest, fields, [each["loc"][1:] for each in error.errors()])
            self.part = self._valid_part.request

    def is_error_of_body(self, error: FieldError) -> bool:
        """Whether an error of the part's reel is an error of the whole form too."""
        pointer = "/" + (param_of(error.pointer) or "").replace(".", "/")
        return self._valid_part is None or self._valid_part.is_error_of_body(pointer)


def _find_size_error(submission: Submission, video: VideoRequest) -> FieldError | None:
    services = submission.state.services
    return find_size_error(video, services.catalog, default_model=services.settings.engine.default_model)


async def _find_further(
    submission: Submission, video: VideoRequest, picture: FormPicture | None
) -> Sequence[FieldError]:
    """The errors that need the model and the artifacts, but none of a size or a picture that is wrong by itself."""
    services = submission.state.services
    media: Mapping[str, MediaInfo] = {}
    if picture is not None:
        stand_in = new_artifact_id()
        video = video.model_copy(update={FILE_FIELD: VideoReference(file_id=stand_in)})
        media = {stand_in: picture.info} if picture.info else {}
    if _find_size_error(submission, video):
        video = video.model_copy(update={"size": None})
    reel = to_reel(video, services.catalog, default_model=services.settings.engine.default_model)
    try:
        await submission.resolver.resolve(reel, owner_id=submission.caller.owner_id, uploads=media)
    except InvalidRequest as further:
        is_picture_wrong = picture is not None and picture.info is None
        return [
            error for error in further.field_errors if not (is_picture_wrong and param_of(error.pointer) == FILE_FIELD)
        ]
    except Unavailable:
        pass  # the other errors are known without the database
    return []
