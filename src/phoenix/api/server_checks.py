"""What a server refuses for reasons of its own: URLs that it may not call, and what it cannot draw or speak."""

import asyncio
from collections.abc import Iterator

from phoenix.api.submitted_body import SubmittedBody, sound_of
from phoenix.contract import ReelRequest, ResolvedReel, ResolvedRequest, ResolvedVoice
from phoenix.errors import FieldError
from phoenix.media.captions.font import CAPTION_FILTER, NO_LIBASS, find_unknown_letters, name_letter
from phoenix.media.ffmpeg import FfmpegMissing, find_ffmpeg, has_filter
from phoenix.media.ssrf import EgressPolicy, UrlNotAllowed, check_url
from phoenix.settings import MediaSettings, Settings, TtsSettings
from phoenix.speech.local import find_espeak_fault
from phoenix.speech.voices import NO_ENGINE, is_espeak_here, resolve_voice


async def find_server_errors(body: SubmittedBody, settings: Settings) -> list[FieldError]:
    """One field error for each thing that this server does not do."""
    field_errors = find_url_errors(body, settings)
    if not isinstance(body, ReelRequest):
        return field_errors
    field_errors += await find_voice_errors(body, settings.tts)
    if body.captions == "burned":
        field_errors += find_caption_errors(body)
        if not await asyncio.to_thread(_can_draw, settings.media):
            field_errors.append(FieldError("/captions", NO_LIBASS))
    return field_errors


async def find_voice_errors(body: ReelRequest, settings: TtsSettings) -> list[FieldError]:
    """The reason why the narration of a reel gets no voice, at the field that would change it."""
    narrated = [index for index, clip in enumerate(body.clips) if (clip.narration or "").strip()]
    voice = resolve_voice(body.voice, settings) if narrated else None
    if voice is None:
        return []
    if isinstance(voice, ResolvedVoice):
        return await _find_unknown_voice(voice)
    if voice.detail != NO_ENGINE:
        return [voice]
    return [FieldError(f"/clips/{index}/narration", NO_ENGINE) for index in narrated]


async def _find_unknown_voice(voice: ResolvedVoice) -> list[FieldError]:
    # Another machine may speak: then this one does not know its voices.
    if voice.engine != "espeak" or not is_espeak_here():
        return []
    fault = await asyncio.to_thread(find_espeak_fault, voice.name)
    return [FieldError("/voice", fault)] if fault else []


def with_voice(resolved: ResolvedRequest, body: SubmittedBody, settings: TtsSettings) -> ResolvedRequest:
    """The request with the voice of its narration. `find_voice_errors` has found nothing wrong with it."""
    if not isinstance(resolved, ResolvedReel) or not isinstance(body, ReelRequest) or not resolved.narrated:
        return resolved
    voice = resolve_voice(body.voice, settings)
    return resolved if isinstance(voice, FieldError) else resolved.model_copy(update={"voice": voice})


def find_caption_errors(body: ReelRequest) -> list[FieldError]:
    """One field error for each clip whose caption has letters that the font lacks: boxes would be drawn for them."""
    field_errors: list[FieldError] = []
    for index, clip in enumerate(body.clips):
        name = "caption" if (clip.caption or "").strip() else "narration"
        unknown = find_unknown_letters(getattr(clip, name) or "")
        if unknown:
            more = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
            detail = f"the font of burned captions lacks {name_letter(unknown[0])}{more}; ask for captions as a track"
            field_errors.append(FieldError(f"/clips/{index}/{name}", detail))
    return field_errors


def _can_draw(settings: MediaSettings) -> bool:
    """Whether the ffmpeg of this machine can draw captions. True without one: then another machine draws them."""
    try:
        ffmpeg = find_ffmpeg(settings.ffmpeg)
    except FfmpegMissing:
        return True
    return has_filter(ffmpeg, CAPTION_FILTER)


def find_url_errors(body: SubmittedBody, settings: Settings) -> list[FieldError]:
    """One field error for each URL that this server may not call.

    Resolves no names: the addresses behind a name are checked when the URL is called.
    """
    field_errors: list[FieldError] = []
    for pointer, url, policy in _list_urls(body, settings):
        try:
            check_url(url, policy)
        except UrlNotAllowed as error:
            field_errors.append(FieldError(pointer, f"This URL is not allowed: {error.detail.rstrip('.')}."))
    return field_errors


def _list_urls(body: SubmittedBody, settings: Settings) -> Iterator[tuple[str, str, EgressPolicy]]:
    """Each URL in the body, with its pointer before it and its policy after it."""
    if body.webhook is not None:
        yield "/webhook/url", str(body.webhook.url), EgressPolicy.for_webhooks(settings.webhooks)
    sound, pointer = sound_of(body)
    if sound is not None and sound.url is not None:
        yield f"{pointer}/url", str(sound.url), EgressPolicy.from_settings(settings.media)
