"""The settings of `phoenix frames`: its engines, its addresses, and what its clients may cost."""

from pydantic import Field

from phoenix.settings.value_types import CommaSeparated, SettingsGroup


class FramesSettings(SettingsGroup):
    """`phoenix frames`: frames on demand over WebSocket and gRPC. See docs/frames.md and docs/frames-protocol.md."""

    processes: int = Field(
        default=1, ge=0, le=64, description="Engine processes on each device; with 0, a thread of the service."
    )
    devices: CommaSeparated[str] = Field(default=("auto",), description="Devices: cpu, cuda:N or auto.")
    threads: int = Field(
        default=0, ge=0, description="Threads of one call of a model; if 0, the cores, divided by the processes."
    )
    batch: int = Field(default=8, ge=1, le=256, description="Most frames in one call of a model.")
    window_ms: float = Field(
        default=10, ge=0, le=1000, description="How long the first frame of a batch waits for further frames."
    )
    most_waiting: int = Field(default=1000, ge=1, description="Waiting frames above which single requests are refused.")
    batch_timeout_s: float = Field(
        default=30, gt=0, description="Longest time for a batch; then its process is killed, and the batch retried."
    )
    video_memory_bytes: int = Field(
        default=4_000_000_000, ge=1, description="Decoded frames of all registered videos together."
    )
    jpeg_quality: int = Field(default=90, ge=1, le=95)
    host: str | None = Field(
        default=None, description="Address of both servers of `phoenix frames`; PHOENIX_API__HOST if unset."
    )
    port: int = Field(default=8090, ge=0, le=65535, description="Of WebSocket and HTTP.")
    grpc_port: int = Field(default=8091, ge=0, le=65535)
    max_sessions: int = Field(default=64, ge=1, description="Sessions of one process `phoenix frames` at a time.")
    sessions_per_key: int = Field(
        default=16, ge=0, description="Sessions of one key at a time, over all processes; unlimited if 0."
    )
    max_videos: int = Field(default=256, ge=1, description="Videos that one process has registered at a time.")
    videos_per_key: int = Field(default=32, ge=1, description="Videos that one key has registered in one process.")
    max_message_bytes: int = Field(
        default=1_000_000, ge=1024, description="Largest message of a client: of sound, or a part of an upload by gRPC."
    )
    max_buffered_s: float = Field(
        default=10, gt=0, description="Longest sound that a session may ask to have buffered before it is rendered."
    )
    queued_audio_bytes: int = Field(
        default=262_144, ge=1024, description="Sound of a session that waits for its buffer; then no more is read."
    )
    open_timeout_s: float = Field(default=10, gt=0, description="Time in which a new connection opens its session.")
    idle_timeout_s: float = Field(
        default=300, gt=0, description="A session that neither receives nor sends anything for so long is ended."
    )
    read_timeout_s: float = Field(
        default=15, gt=0, description="A client that reads nothing for so long while a frame waits for it is ended."
    )
    page_access_s: float = Field(default=3600, ge=60, description="How long a page may open sessions with one token.")
    drain_grace_s: float = Field(
        default=30, ge=0, description="How long sessions continue after SIGTERM; then their sound ends."
    )
