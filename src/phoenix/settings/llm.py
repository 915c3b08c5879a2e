"""The settings of the language model that writes storyboards."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from phoenix.settings.value_types import SettingsGroup, WebUrlWithoutLogin


class LlmSettings(SettingsGroup):
    """Any server with OpenAI's chat completions, also one on this machine. Without it a template plans storyboards."""

    base_url: WebUrlWithoutLogin | None = Field(
        default=None, description="Such as http://127.0.0.1:11434/v1; OpenAI's own if unset and api_key is set."
    )
    api_key: SecretStr | None = None
    model: str | None = Field(default=None, description="As the server names it; no language model if unset.")
    timeout_s: float = Field(default=120, gt=0, description="Time limit for one storyboard, its repair included.")
    max_tokens: int = Field(default=8192, ge=256, description="Most tokens of one answer.")
    max_retries: int = Field(default=2, ge=0, description="Retries of a throttled or broken request.")
    max_concurrent: int = Field(default=8, ge=1, description="Storyboards that one API process has written at a time.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="The default of the server if unset.")
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="OpenAI's newest models know only max_completion_tokens."
    )
    response_format: Literal["json_schema", "json_object", "text"] = Field(
        default="json_schema", description="What the server can be held to; the prompt has the schema in any case."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        has_server = self.base_url is not None or self.api_key is not None
        if has_server != (self.model is not None):
            raise ValueError("set model, and base_url or api_key or both; or none of them")
        return self

    @property
    def is_configured(self) -> bool:
        return self.model is not None
