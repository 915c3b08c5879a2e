"""Checks the URLs that a request asks this server to call. Obviously internal ones are refused at once."""

from collections.abc import Iterator

from phoenix.contract.requests import JobOptions, ReelRequest, SoundtrackJobRequest, StitchRequest
from phoenix.errors import FieldError
from phoenix.media.ssrf import EgressPolicy, UrlNotAllowed, check_url
from phoenix.settings import Settings, WebhookSettings


def webhook_policy(settings: WebhookSettings) -> EgressPolicy:
    return EgressPolicy(
        schemes=("https", "http") if settings.allow_http else ("https",),
        ports=settings.ports,
        allow_private=settings.allow_private,
        ca_file=settings.ca_file,
    )


def find_url_errors(body: JobOptions, settings: Settings) -> list[FieldError]:
    """One field error for each URL that may not be called. Resolves no names: addresses are vetted when calling."""
    field_errors: list[FieldError] = []
    for pointer, url, policy in _list_urls(body, settings):
        try:
            check_url(url, policy)
        except UrlNotAllowed as error:
            field_errors.append(FieldError(pointer, f"This URL is not allowed: {error.detail.rstrip('.')}."))
    return field_errors


def _list_urls(body: JobOptions, settings: Settings) -> Iterator[tuple[str, str, EgressPolicy]]:
    if body.webhook is not None:
        yield "/webhook/url", str(body.webhook.url), webhook_policy(settings.webhooks)
    sounds = {
        "/soundtrack": body.soundtrack if isinstance(body, ReelRequest | StitchRequest) else None,
        "/source": body.source if isinstance(body, SoundtrackJobRequest) else None,
    }
    for pointer, sound in sounds.items():
        if sound is not None and sound.url is not None:
            yield f"{pointer}/url", str(sound.url), EgressPolicy.from_settings(settings.media)
