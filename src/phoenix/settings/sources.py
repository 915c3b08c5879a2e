"""Settings from environment variables: with the prefix `PHOENIX_`, and under names that hosting platforms set."""

import os
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource

UNPREFIXED_NAMES = {
    "DATABASE_URL": ("database", "url"),
    "REDIS_URL": ("redis", "url"),
    "PORT": ("api", "port"),
    "MAX_CONCURRENT_GENERATIONS": ("worker", "max_concurrent_generations"),
}
"""Variables without the prefix that Phoenix also reads, and the group and field that each one sets."""


class EnvironmentSource(EnvSettingsSource):
    """Reads `PHOENIX_…`. Passes malformed JSON on to the field, whose error says what to write instead."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class UnprefixedNamesSource(InitSettingsSource):
    """Maps `REDIS_URL` and the other unprefixed names to their settings."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        found: dict[str, dict[str, str]] = {}
        for name, (group, field) in UNPREFIXED_NAMES.items():
            if value := os.environ.get(name):
                found.setdefault(group, {})[field] = value
        super().__init__(settings_cls, init_kwargs=dict[str, Any](found))
