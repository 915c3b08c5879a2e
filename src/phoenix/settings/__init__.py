"""The settings of a process: read once at its start, and checked."""

from phoenix.settings.engines import AnimaticSettings, EngineSettings, TtsSettings, VeoSettings
from phoenix.settings.extras import C2paSettings, LipsyncSettings, SearchSettings, VideosSettings
from phoenix.settings.frames import FramesSettings
from phoenix.settings.llm import LlmSettings
from phoenix.settings.prices import PriceSettings
from phoenix.settings.settings import (
    ApiSettings,
    DatabaseSettings,
    EventSettings,
    LimitSettings,
    LogSettings,
    MediaSettings,
    RedisSettings,
    RetentionSettings,
    SchedulerSettings,
    Settings,
    WebhookSettings,
    WorkerSettings,
    load_settings,
)
from phoenix.settings.sources import UNPREFIXED_NAMES
from phoenix.settings.storage import StorageSettings
from phoenix.settings.value_types import AuthMode, SettingsGroup

__all__ = [
    "UNPREFIXED_NAMES",
    "AnimaticSettings",
    "ApiSettings",
    "AuthMode",
    "C2paSettings",
    "DatabaseSettings",
    "EngineSettings",
    "EventSettings",
    "FramesSettings",
    "LimitSettings",
    "LipsyncSettings",
    "LlmSettings",
    "LogSettings",
    "MediaSettings",
    "PriceSettings",
    "RedisSettings",
    "RetentionSettings",
    "SchedulerSettings",
    "SearchSettings",
    "Settings",
    "SettingsGroup",
    "StorageSettings",
    "TtsSettings",
    "VeoSettings",
    "VideosSettings",
    "WebhookSettings",
    "WorkerSettings",
    "load_settings",
]
