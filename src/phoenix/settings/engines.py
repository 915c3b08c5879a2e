"""The settings of the engines, which `Settings` joins to all others."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from phoenix.settings.value_types import CommaSeparated, SettingsGroup, WebUrl


class EngineSettings(SettingsGroup):
    catalog_file: Path | None = Field(default=None, description="TOML file of models, merged over the built-in ones.")
    default_model: str = "animatic"
    offline: bool = Field(default=True, description="Never download weights at run time.")
    memory_budget_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Memory for the loaded models of one device; nine tenths of the device's memory if unset.",
    )
    host_memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Memory of the machine for the models of one device that are offloaded or run on the CPU; if unset,"
        " four fifths of the memory of the machine or container, divided by its devices.",
    )
    device_share: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Share of these budgets for one process; `--processes-per-device N` divides it by N.",
    )
    idle_timeout_s: float | None = Field(
        default=None, gt=0, description="Time after which an unused model is unloaded; never if unset."
    )
    warm_models: CommaSeparated[str] = Field(
        default=(), description="Models that a worker loads and runs once, in this order, before it reports ready."
    )
    compiled_dir: Path | None = Field(
        default=None,
        description="Folder of code that torch compiled, for later processes; `compiled` in the data folder if unset.",
    )
    max_batch_size: int = Field(
        default=1, ge=1, description="Most clips in one call of a model; each worker claims as many at once."
    )
    batch_window_s: float = Field(
        default=0.03, ge=0, description="How long the first clip of a batch waits for similar clips."
    )
    reuse_clips: bool = Field(
        default=True,
        description="Take the file of an equal finished clip of the same key instead of rendering it again.",
    )
    preview_interval_s: float = Field(
        default=1, ge=0, description="Shortest time between two previews of a clip; no previews if 0."
    )


class AnimaticSettings(SettingsGroup):
    seconds_per_step: float = Field(
        default=0, ge=0, description="Slows the animatic engine down, to try schedules without a GPU."
    )


class VeoSettings(SettingsGroup):
    """Google's Veo: a remote engine, billed per clip. Served only if a key or a project is set."""

    api_key: SecretStr | None = Field(
        default=None, description="API key for Google Cloud's Agent Platform (Vertex AI)."
    )
    project: str | None = Field(
        default=None, description="Google Cloud project, used with its own credentials instead of a key."
    )
    location: str = Field(
        default="us-central1", description="Region of the project, for Veo; Gemini Omni is in `global`."
    )
    base_url: WebUrl | None = Field(default=None, description="URL of a proxy that speaks Google's API.")
    max_concurrent: int = Field(
        default=4, ge=1, description="Clips under way at a time, per worker that serves the remote queue."
    )
    slot_timeout_s: float = Field(default=300, gt=0, description="Longest wait for one of these slots, then TIMEOUT.")
    request_timeout_s: float = Field(default=60, gt=0, description="Time limit of one request, also for a video.")
    poll_interval_s: float = Field(default=5, gt=0)
    timeout_s: float = Field(default=900, gt=0, description="Time limit of one clip; the next attempt resumes it.")
    max_retries: int = Field(default=6, ge=0, description="Retries of a throttled request, or of one status poll.")
    retry_delay_s: float = Field(default=1, gt=0, description="First retry delay; doubles, with jitter.")
    max_retry_delay_s: float = Field(default=60, gt=0, description="A longer Retry-After fails the attempt.")
    max_video_bytes: int = Field(default=200_000_000, ge=1)

    @property
    def is_configured(self) -> bool:
        return self.api_key is not None or self.project is not None


class TtsSettings(SettingsGroup):
    """What speaks the narration of clips. See docs/voice-and-captions.md."""

    engine: Literal["auto", "off", "openai", "piper", "espeak"] = Field(
        default="auto",
        description="`auto`: a service if base_url is set, or else Piper if voices_dir is set, or else eSpeak NG if it "
        "is installed. Name one where the API and the media workers are different machines.",
    )
    base_url: WebUrl | None = Field(
        default=None, description="Of a service with OpenAI's `/audio/speech`, such as https://api.openai.com/v1."
    )
    api_key: SecretStr | None = None
    model: str = Field(default="gpt-4o-mini-tts", description="Model of the service.")
    voice: str | None = Field(default=None, description="Voice of a reel that names none.")
    voices_dir: Path | None = Field(
        default=None, description="Folder with voices of Piper: NAME.onnx and NAME.onnx.json."
    )
    timeout_s: float = Field(default=120, gt=0, description="Time limit of one narration.")
    max_speech_bytes: int = Field(default=50_000_000, ge=1, description="Largest file of one narration.")
