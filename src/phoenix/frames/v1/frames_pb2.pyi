from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_RAW: _ClassVar[ImageFormat]
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_RAW: ImageFormat

class Box(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    width: int
    height: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class RegisterVideoRequest(_message.Message):
    __slots__ = ("source", "chunk")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    source: VideoSource
    chunk: bytes
    def __init__(self, source: _Optional[_Union[VideoSource, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class VideoSource(_message.Message):
    __slots__ = ("artifact_id", "box", "model")
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    artifact_id: str
    box: Box
    model: str
    def __init__(self, artifact_id: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., model: _Optional[str] = ...) -> None: ...

class Video(_message.Message):
    __slots__ = ("video_id", "width", "height", "fps", "frame_count", "frames_with_face", "model")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    FRAMES_WITH_FACE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    width: int
    height: int
    fps: float
    frame_count: int
    frames_with_face: int
    model: str
    def __init__(self, video_id: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., fps: _Optional[float] = ..., frame_count: _Optional[int] = ..., frames_with_face: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class GetVideoRequest(_message.Message):
    __slots__ = ("video_id",)
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    def __init__(self, video_id: _Optional[str] = ...) -> None: ...

class RemoveVideoRequest(_message.Message):
    __slots__ = ("video_id",)
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    def __init__(self, video_id: _Optional[str] = ...) -> None: ...

class RemoveVideoResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RenderFrameRequest(_message.Message):
    __slots__ = ("video_id", "frame_index", "audio", "sample_rate", "format")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    FRAME_INDEX_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    frame_index: int
    audio: bytes
    sample_rate: int
    format: ImageFormat
    def __init__(self, video_id: _Optional[str] = ..., frame_index: _Optional[int] = ..., audio: _Optional[bytes] = ..., sample_rate: _Optional[int] = ..., format: _Optional[_Union[ImageFormat, str]] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("sequence", "index", "pts_s", "audio", "image")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PTS_S_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    index: int
    pts_s: float
    audio: bytes
    image: bytes
    def __init__(self, sequence: _Optional[int] = ..., index: _Optional[int] = ..., pts_s: _Optional[float] = ..., audio: _Optional[bytes] = ..., image: _Optional[bytes] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("open", "sound", "clear", "end")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    CLEAR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    open: OpenSession
    sound: Sound
    clear: ClearSound
    end: EndSound
    def __init__(self, open: _Optional[_Union[OpenSession, _Mapping]] = ..., sound: _Optional[_Union[Sound, _Mapping]] = ..., clear: _Optional[_Union[ClearSound, _Mapping]] = ..., end: _Optional[_Union[EndSound, _Mapping]] = ...) -> None: ...

class OpenSession(_message.Message):
    __slots__ = ("video_id", "sample_rate", "format", "max_buffered_s")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MAX_BUFFERED_S_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    sample_rate: int
    format: ImageFormat
    max_buffered_s: float
    def __init__(self, video_id: _Optional[str] = ..., sample_rate: _Optional[int] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., max_buffered_s: _Optional[float] = ...) -> None: ...

class Sound(_message.Message):
    __slots__ = ("sequence", "pcm")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    pcm: bytes
    def __init__(self, sequence: _Optional[int] = ..., pcm: _Optional[bytes] = ...) -> None: ...

class ClearSound(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EndSound(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("opened", "frame", "cleared", "draining", "ended")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    opened: SessionOpened
    frame: Frame
    cleared: SoundCleared
    draining: SessionDraining
    ended: SessionEnded
    def __init__(self, opened: _Optional[_Union[SessionOpened, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., cleared: _Optional[_Union[SoundCleared, _Mapping]] = ..., draining: _Optional[_Union[SessionDraining, _Mapping]] = ..., ended: _Optional[_Union[SessionEnded, _Mapping]] = ...) -> None: ...

class SessionOpened(_message.Message):
    __slots__ = ("session_id", "video")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    video: Video
    def __init__(self, session_id: _Optional[str] = ..., video: _Optional[_Union[Video, _Mapping]] = ...) -> None: ...

class SoundCleared(_message.Message):
    __slots__ = ("next_index",)
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    next_index: int
    def __init__(self, next_index: _Optional[int] = ...) -> None: ...

class SessionDraining(_message.Message):
    __slots__ = ("ends_in_s",)
    ENDS_IN_S_FIELD_NUMBER: _ClassVar[int]
    ends_in_s: float
    def __init__(self, ends_in_s: _Optional[float] = ...) -> None: ...

class SessionEnded(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: int
    def __init__(self, frames: _Optional[int] = ...) -> None: ...
