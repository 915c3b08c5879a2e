"""Every setting, on one page. Loaded once per process and passed down: no other module reads the environment.

Sources, strongest first: arguments, `PHOENIX_…` in the environment (groups nested by `__`), the unprefixed names of
`sources.UNPREFIXED_NAMES`, the TOML file that `PHOENIX_CONFIG` names, the defaults below.
"""

import ipaddress
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from phoenix.settings.engines import AnimaticSettings, EngineSettings, TtsSettings, VeoSettings
from phoenix.settings.extras import C2paSettings, LipsyncSettings, SearchSettings, VideosSettings
from phoenix.settings.frames import FramesSettings
from phoenix.settings.llm import LlmSettings
from phoenix.settings.prices import PriceSettings
from phoenix.settings.sources import EnvironmentSource, UnprefixedNamesSource
from phoenix.settings.storage import StorageSettings
from phoenix.settings.value_types import (
    AuthMode,
    CommaSeparated,
    DatabaseUrl,
    EncryptionKey,
    HostPattern,
    LogLevel,
    Origin,
    Port,
    Preset,
    ProxyAddress,
    RedisUrl,
    SettingsGroup,
    WebUrl,
)


class DatabaseSettings(SettingsGroup):
    url: DatabaseUrl | None = Field(
        default=None, description="SQLAlchemy or plain URL; a SQLite file in data_dir if unset."
    )
    pool_size: int = Field(
        default=5, ge=1, description="Connections kept open by a replica; at most twice as many in use."
    )
    statement_timeout_s: float = Field(default=10, gt=0, description="Time limit of one SQL statement (PostgreSQL).")
    busy_timeout_s: float = Field(default=10, gt=0, description="How long a writer waits for SQLite's write lock.")
    encryption_keys: CommaSeparated[EncryptionKey] = Field(
        default=(), description="Encrypt the stored secrets with the first key, and read them with any; none if unset."
    )


class RedisSettings(SettingsGroup):
    url: RedisUrl | None = Field(
        default=None, description="redis:// or unix:// URL; `phoenix up` starts a private one if unset."
    )
    socket_timeout_s: float = Field(default=2, gt=0, description="Time limit of one command, and of a publication.")
    limits_timeout_s: float = Field(default=0.25, gt=0, description="Longest wait to count a request; then no limit.")
    prefix: str = Field(default="phoenix", description="First part of every key and channel.")


class RetentionSettings(SettingsGroup):
    """Automatic deletion. Unfinished jobs are never deleted. The rules of jobs hold for storyboards too."""

    jobs_days: float = Field(
        default=0, ge=0, description="Age at which a finished job and its files are deleted; never if 0."
    )
    jobs_per_key: int = Field(default=0, ge=0, description="Finished jobs kept per key; all if 0.")
    uploads_days: float = Field(
        default=30, ge=0, description="Days after its last use at which an upload is deleted; never if 0."
    )
    audit_days: float = Field(default=365, ge=1, description="Age at which an entry of the audit log is deleted.")
    orphans_after_s: float = Field(
        default=24 * 3600, ge=3600, description="Age at which a stored file without a database row is deleted."
    )
    stats_days: float = Field(
        default=90, ge=1, description="Days for which statistics and usage are kept; of single minutes, two days."
    )
    interval_s: float = Field(default=3600, gt=0, description="Time between two clean-up rounds.")


class ApiSettings(SettingsGroup):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: WebUrl | None = Field(default=None, description="Base URL of absolute links, if a proxy hides it.")
    allowed_hosts: CommaSeparated[HostPattern] = Field(
        default=(), description="Names, *.names, addresses, networks that a server without keys answers under."
    )
    cors_origins: CommaSeparated[Origin] = ()
    cors_credentials: bool = Field(
        default=True, description="Let pages of these origins send cookies; must be false if cors_origins has *."
    )
    trusted_proxies: CommaSeparated[ProxyAddress] = Field(
        default=(), description="Addresses or networks of proxies; the last other one in X-Forwarded-For is the client."
    )
    shutdown_grace_s: float = Field(default=5, ge=0)
    background: bool = Field(
        default=True, description="Run the background services in each replica; false if `phoenix background` has them."
    )
    token_secret: SecretStr | None = Field(
        default=None, description="Signs the tokens of URLs; generated once and stored in the database if unset."
    )
    media_url_s: float = Field(default=6 * 3600, ge=60, description="How long a signed media URL works.")
    show_prompts_to_operators: bool = Field(
        default=False, description="Show operators and administrators the prompts and other words of all keys."
    )


class LimitSettings(SettingsGroup):
    """Bounds on what one request may ask for; a model's catalog entry may be tighter."""

    head_timeout_s: float = Field(
        default=10, gt=0, description="Time limit for a request head; also closes a silent connection."
    )
    max_body_bytes: int = Field(default=1_000_000, ge=1)
    body_timeout_s: float = Field(default=30, gt=0, description="Time limit for a whole request body.")
    max_upload_bytes: int = Field(default=200_000_000, ge=1)
    upload_timeout_s: float = Field(default=900, gt=0, description="Time limit for the whole body of an upload.")
    receive_timeout_s: float = Field(
        default=60, gt=0, description="An upload of which less than 1 KiB/s arrives for so long is cut off."
    )
    max_upload_duration_s: float = Field(
        default=3600, gt=0, description="Longest uploaded audio or video; the byte limit does not bound the duration."
    )
    max_upload_pixels: int = Field(
        default=67_108_864,
        ge=1,
        description="Pixels per picture: 8192x8192. A JPEG may have four times as many, unless it is progressive.",
    )
    max_upload_frame_pixels: int = Field(default=33_177_600, ge=1, description="Pixels per video frame: 7680x4320.")
    send_timeout_s: float = Field(
        default=60, gt=0, description="A client that takes less than 1 KiB/s of its response for so long is cut off."
    )
    max_connections: int = Field(
        default=12_000, ge=0, description="Open connections of one process, as far as its open files suffice; any if 0."
    )
    max_queued_jobs: int = Field(default=10_000, ge=1)
    max_reel_duration_s: float = Field(default=600, gt=0)
    default_queue_timeout_s: float = Field(default=24 * 3600, gt=0)
    default_run_timeout_s: float = Field(default=3600, gt=0)
    approval_timeout_s: float = Field(
        default=7 * 86400, gt=0, description="How long a held job waits for the approval of its draft; then it expires."
    )
    requests_per_minute: int = Field(
        default=1200, ge=0, description="Per API key; unlimited if 0, as for all limits below."
    )
    failed_auth_per_minute: int = Field(default=60, ge=0, description="Requests answered with 401, per address.")
    queued_jobs_per_key: int = Field(default=1000, ge=0)
    running_clips_per_key: int = Field(
        default=0, ge=0, description="Clips of one key that run at a time; others wait in the queue."
    )
    gpu_seconds_per_day: float = Field(
        default=0, ge=0, description="Per key in any 24 hours; new jobs beyond it are refused."
    )
    upload_bytes_per_day: int = Field(default=100_000_000_000, ge=0, description="Per key in any 24 hours.")
    stored_bytes_per_key: int = Field(
        default=0, ge=0, description="Uploads and files of jobs; a key may have a limit of its own."
    )
    storyboards_per_minute: int = Field(
        default=20, ge=0, description="Storyboards, messages and retries of one key that a language model answers."
    )
    streams_per_key: int = Field(default=1000, ge=0, description="Event streams of one key, open at a time.")
    downloads_per_key: int = Field(
        default=100, ge=0, description="Downloads at a time, of one key, or of one address where no key is needed."
    )
    uploads_per_key: int = Field(default=20, ge=0, description="Uploads at a time, counted like downloads.")


class EventSettings(SettingsGroup):
    heartbeat_s: float = Field(
        default=10,
        gt=0,
        description="Time between two comments on idle streams, and between two checks of streams for missed events.",
    )
    client_buffer_size: int = Field(default=128, ge=8)
    max_stream_age_s: float = Field(
        default=3600, gt=0, description="Age at which a stream ends, and its client reconnects."
    )
    retry_ms: int = Field(
        default=2000, ge=100, description="Reconnection delay sent to clients, plus up to half of it as jitter."
    )
    progress_interval_s: float = Field(
        default=0.1, ge=0, description="Shortest time between two progress events of a clip."
    )


class SchedulerSettings(SettingsGroup):
    """Dispatcher, leases and lease reaper. See docs/decisions/0002-sql-is-the-truth.md."""

    lease_s: float = Field(
        default=12,
        gt=0,
        description="How long a lease lasts: the tasks of a lost worker wait about this long for another worker.",
    )
    heartbeat_s: float = Field(default=3, gt=0, description="Time between two renewals of a worker's leases.")
    reap_interval_s: float = Field(default=1, gt=0)
    dispatch_interval_s: float = Field(
        default=1, gt=0, description="Longest time between two passes of the dispatcher."
    )
    dispatch_check_s: float = Field(
        default=5,
        gt=0,
        description="Age at which the dispatcher checks that an unclaimed dispatch message is still in Redis.",
    )
    prefetch_multiplier: float = Field(default=2, ge=1, description="Dispatch messages in Redis per slot of the fleet.")
    affinity_wait_s: float = Field(
        default=10,
        ge=0,
        description="How long a clip whose turn has come may wait for a worker that has loaded its model; never if 0.",
    )
    stall_timeout_s: float = Field(
        default=600, gt=0, description="Time without progress after which a worker fails the task."
    )
    max_crashes: int = Field(default=3, ge=1)
    max_failures: int = Field(default=3, ge=1, description="Attempts of a task that may fail with a retriable error.")
    retry_delay_s: float = Field(default=2, ge=0, description="First retry delay; doubles, with jitter.")

    @model_validator(mode="after")
    def _check_beats(self) -> Self:
        # With one renewal per lease, a single late renewal loses the lease.
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError("heartbeat_s may be half of lease_s at most: a healthy worker would lose its tasks")
        return self


class WorkerSettings(SettingsGroup):
    max_concurrent_generations: int = Field(default=1, ge=1, description="Clips rendered on one device at a time.")
    slots_dir: Path | None = Field(
        default=None,
        description="Folder of the locks with which processes share a device; `--processes-per-device` sets it.",
    )
    slot_timeout_s: float = Field(default=600, gt=0, description="Longest wait for a device slot, then TIMEOUT.")
    pipeline_depth: int = Field(
        default=1, ge=0, description="Clips per slot that may still be encoding while the slot renders the next clip."
    )
    media_concurrency: int = Field(default=2, ge=1)
    recycle_after_tasks: int = Field(default=50, ge=1)
    recycle_rss_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Resident memory after a task above which a process is replaced; never if unset.",
    )
    drain_grace_s: float = Field(default=30, ge=0)
    restart_delay_s: float = Field(default=0.5, ge=0)


class MediaSettings(SettingsGroup):
    ffmpeg: str | None = Field(
        default=None, description="Path of ffmpeg; if unset, the ffmpeg of imageio-ffmpeg, or else of PATH."
    )
    encoder: Literal["auto", "software", "nvenc"] = Field(
        default="software",
        description="Of H.264: libx264, NVENC of an NVIDIA card, or NVENC where a trial at the start succeeds.",
    )
    preset: Preset = "veryfast"
    crf: int = Field(default=20, ge=0, le=51)
    threads: int = Field(default=2, ge=0)
    loudness_lufs: float = Field(default=-16, ge=-40, le=-5)
    timeout_s: float = Field(default=900, gt=0, description="Longest run of one ffmpeg command.")
    max_memory_bytes: int = Field(
        default=16_000_000_000, ge=1, description="Memory of one ffmpeg command (Linux); a worker may run several."
    )
    max_file_bytes: int = Field(
        default=20_000_000_000, ge=1, description="Largest file that one ffmpeg command may write (Linux)."
    )
    probe_timeout_s: float = Field(default=10, gt=0, description="Processor time to read what a file is.")
    fetch_timeout_s: float = Field(default=60, gt=0)
    fetch_ports: CommaSeparated[Port] = Field(
        default=(443,), description="Ports allowed in URLs from clients; https only."
    )
    fetch_allow_private: bool = Field(default=False, description="Also fetch from private addresses.")
    fetch_ca_file: Path | None = Field(default=None, description="PEM bundle to trust instead of the public one.")


class WebhookSettings(SettingsGroup):
    """Where webhooks may be sent: https to public addresses only, unless configured otherwise."""

    ports: CommaSeparated[Port] = (443,)
    allow_http: bool = Field(default=False, description="Also send to plain http URLs.")
    allow_private: bool = Field(default=False, description="Also send to private addresses.")
    ca_file: Path | None = Field(default=None, description="PEM bundle to trust instead of the public one.")
    timeout_s: float = Field(default=15, gt=0, description="Time limit of one delivery.")
    max_concurrent: int = Field(default=32, ge=1, description="Deliveries in flight; per target an eighth of them.")
    poll_interval_s: float = Field(default=0.5, gt=0, description="Time between two checks for due deliveries.")


class LogSettings(SettingsGroup):
    level: LogLevel = Field(default="INFO", description="Level of our lines; other libraries log at INFO and above.")
    json_lines: bool = Field(
        default=True, description="One JSON object per line; if false, a readable form for terminals."
    )


class Settings(BaseSettings):
    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="PHOENIX_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Field(default=Path("data"), description="Folder for the files of the embedded mode.")
    auth: AuthMode | None = Field(
        default=None, description="`off` on a loopback address and `required` elsewhere, if unset."
    )
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
    api: ApiSettings = ApiSettings()
    limits: LimitSettings = LimitSettings()
    events: EventSettings = EventSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    worker: WorkerSettings = WorkerSettings()
    engine: EngineSettings = EngineSettings()
    animatic: AnimaticSettings = AnimaticSettings()
    veo: VeoSettings = VeoSettings()
    llm: LlmSettings = LlmSettings()
    tts: TtsSettings = TtsSettings()
    prices: PriceSettings = PriceSettings()
    search: SearchSettings = SearchSettings()
    videos: VideosSettings = VideosSettings()
    media: MediaSettings = MediaSettings()
    c2pa: C2paSettings = C2paSettings()
    lipsync: LipsyncSettings = LipsyncSettings()
    frames: FramesSettings = FramesSettings()
    webhooks: WebhookSettings = WebhookSettings()
    log: LogSettings = LogSettings()

    @property
    def is_auth_required(self) -> bool:
        """Whether every request needs a key."""
        if self.auth is not None:
            return self.auth is AuthMode.REQUIRED
        return not _is_loopback(self.api.host)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        config_file = os.environ.get("PHOENIX_CONFIG")
        files = (TomlConfigSettingsSource(settings_cls, config_file),) if config_file else ()
        return (init_settings, EnvironmentSource(settings_cls), UnprefixedNamesSource(settings_cls), *files)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # Any other name may resolve to any address, and an empty name means every address.
        return host == "localhost"


def load_settings(**overrides: Any) -> Settings:
    """Reads every source. Raises `pydantic.ValidationError`, whose message names each wrong setting."""
    return Settings(**overrides)
