"""Wraps the openai SDK: streams one answer of any server with OpenAI's chat completions, and sorts its errors."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from phoenix.contract import StoryboardErrorCode
from phoenix.errors import PhoenixError, install_extra
from phoenix.settings import LlmSettings
from phoenix.storyboards.plan import Document
from phoenix.storyboards.prompting import ChatMessage
from phoenix.storyboards.script import MAX_ANSWER_LENGTH
from phoenix.telemetry.logs import get_logger

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_logger = get_logger(__name__)

_MODERATION = ("content_filter", "content_policy_violation", "moderation_blocked")
"""Codes of errors with which services refuse words."""
_RETRIED_STATUSES = (408, 409)


class WritingFailed(PhoenixError):
    """No storyboard was written. `retriable`: whether another try, with nothing changed, can succeed."""

    def __init__(self, code: StoryboardErrorCode, detail: str, *, retriable: bool = True) -> None:
        super().__init__(detail)
        self.code = code
        self.retriable = retriable


class Llm:
    """One client per process. The SDK is imported with the first answer, which takes a second.

    No text of the server is in its errors or in the log: it may repeat a key or the words of a user.
    """

    def __init__(self, settings: LlmSettings) -> None:
        self._settings = settings
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(settings.max_concurrent)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def answer(self, messages: Sequence[ChatMessage], schema: Document, on_text: Callable[[str], None]) -> str:
        """The whole text of the answer. `on_text` gets each part of it as it arrives. Raises `WritingFailed`."""
        if not self._settings.is_configured:
            raise WritingFailed(StoryboardErrorCode.UNAVAILABLE, "This server has no language model any more.")
        async with self._slots:
            client = await self._open()
            async with _explaining_errors():
                return await self._stream(client, messages, schema, on_text)

    async def _open(self) -> "AsyncOpenAI":
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(_open_client, self._settings)
            return self._client

    async def _stream(
        self,
        client: "AsyncOpenAI",
        messages: Sequence[ChatMessage],
        schema: Document,
        on_text: Callable[[str], None],
    ) -> str:
        asked: Any = {"messages": list(messages), **_options(self._settings, schema)}
        stream: Any = await client.chat.completions.create(stream=True, **asked)
        text, refusal, ending = "", "", None
        # Closes the connection also when the writing is canceled, so that the server stops as well.
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices[:1]:
                    if (part := choice.delta.content) and isinstance(part, str):
                        text += part
                        on_text(part)
                    refusal += getattr(choice.delta, "refusal", None) or ""
                    ending = choice.finish_reason or ending
                if len(text) > MAX_ANSWER_LENGTH:
                    ending = "length"
                    break
        _check_ending(text, refusal, ending, self._settings)
        return text


def _open_client(settings: LlmSettings) -> "AsyncOpenAI":
    try:
        from openai import AsyncOpenAI  # noqa: PLC0415 - an extra, which takes a second to import
    except ImportError as error:
        detail = f"The language model needs a package that is missing: {install_extra('llm')}."
        raise WritingFailed(StoryboardErrorCode.UNAVAILABLE, detail) from error
    return AsyncOpenAI(
        # A server on this machine may need no key, and the SDK needs one.
        api_key=settings.api_key.get_secret_value() if settings.api_key else "none",
        base_url=settings.base_url or "https://api.openai.com/v1",
        timeout=settings.timeout_s,
        max_retries=settings.max_retries,
    )


def _options(settings: LlmSettings, schema: Document) -> Document:
    options: Document = {"model": settings.model, settings.token_parameter: settings.max_tokens}
    if settings.temperature is not None:
        options["temperature"] = settings.temperature
    match settings.response_format:
        case "json_schema":
            form = {"name": "storyboard", "strict": True, "schema": schema}
            options["response_format"] = {"type": "json_schema", "json_schema": form}
        case "json_object":
            options["response_format"] = {"type": "json_object"}
        case "text":
            pass
    return options


def _check_ending(text: str, refusal: str, ending: str | None, settings: LlmSettings) -> None:
    """Raises `WritingFailed` for a refusal, and for an answer that was cut."""
    if refusal or ending == "content_filter":
        said = f": {refusal[:500]}" if refusal else "."
        raise WritingFailed(StoryboardErrorCode.MODERATED, f"The language model refuses this{said}", retriable=False)
    if ending == "length":
        detail = f"The answer is longer than {settings.max_tokens} tokens: ask for fewer clips, or for shorter prompts."
        raise WritingFailed(StoryboardErrorCode.INVALID_ANSWER, detail)
    if not text.strip():
        raise WritingFailed(StoryboardErrorCode.INVALID_ANSWER, "The language model answered nothing.")


@asynccontextmanager
async def _explaining_errors() -> AsyncGenerator[None]:
    """Raises `WritingFailed` for the errors of the SDK."""
    import openai  # noqa: PLC0415 - see `_open_client`

    try:
        yield
    except openai.APIStatusError as error:
        _logger.warning("the language model refused a request", status=error.status_code, code=error.code)
        raise _of_status(error.status_code, str(error.code or "")) from None
    except openai.APITimeoutError:
        raise WritingFailed(StoryboardErrorCode.TIMEOUT, "The language model takes too long to answer.") from None
    except openai.APIConnectionError:
        _logger.warning("the language model does not answer")
        raise WritingFailed(StoryboardErrorCode.UNAVAILABLE, "The language model does not answer.") from None
    except openai.APIError as error:
        _logger.warning("the language model ended an answer with an error", code=error.code)
        raise _of_status(500, str(error.code or "")) from None
    except (openai.OpenAIError, ValueError, AttributeError, TypeError):
        # A server that does not speak the protocol: its answer has no choices, or is no JSON.
        _logger.warning("the language model does not speak the protocol")
        detail = "What answers in place of the language model is none: PHOENIX_LLM__BASE_URL may be wrong."
        raise WritingFailed(StoryboardErrorCode.UNAVAILABLE, detail) from None


def _of_status(status: int, code: str) -> WritingFailed:
    if code in _MODERATION:
        return WritingFailed(StoryboardErrorCode.MODERATED, "The language model refuses these words.", retriable=False)
    if status == 429:
        detail = "The language model takes no more requests for now."
        return WritingFailed(StoryboardErrorCode.UPSTREAM_RATE_LIMITED, detail)
    if status >= 500 or status in _RETRIED_STATUSES:
        return WritingFailed(StoryboardErrorCode.UNAVAILABLE, f"The language model fails with status {status}.")
    detail = f"The language model refuses the requests of this server with status {status}; its operator can help."
    return WritingFailed(StoryboardErrorCode.UNAVAILABLE, detail)
