"""The server that a command talks to: the given server, or else the server on this machine."""

import re
import time
from typing import Annotated

import httpx
import typer
from pydantic import ValidationError

from phoenix.cli.console import read_settings
from phoenix.cli.embedded.lock import find_holder
from phoenix.client import Phoenix, RetryPolicy
from phoenix.contract import Health
from phoenix.settings import Settings


def check_url(url: str | None) -> str | None:
    """Refuses a value that is not the address of a server."""
    if url and not re.match(r"https?://[^/]", url):
        raise typer.BadParameter(f"{url!r} is not a URL; give one such as http://127.0.0.1:8080.")
    if url and url.rstrip("/").endswith("/v1"):
        raise typer.BadParameter("give the address of the server, without /v1.")
    return url


UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="PHOENIX_URL",
        callback=check_url,
        help="URL of the server; the server on this machine if unset.",
    ),
]
ApiKeyOption = Annotated[
    str | None, typer.Option("--api-key", envvar="PHOENIX_API_KEY", help="API key for the server.")
]
OwnerOption = Annotated[
    str | None,
    typer.Option(
        "--owner",
        envvar="PHOENIX_OWNER",
        help="Jobs of this key in place of your own, or of all keys with `all`; for operators and administrators.",
    ),
]
JobIdArgument = Annotated[str, typer.Argument(metavar="JOB_ID", help="Id of the job, as printed on submission: job_…")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON in the shape of the API.")]

# Enough retries for a busy server. A server that is not there is reported at once.
CLI_RETRY_POLICY = RetryPolicy(attempts=3, first_delay_s=0.3, longest_delay_s=30, waits_for_server=False)
STARTING_WITHIN_S = 60


def connect(url: str | None, api_key: str | None) -> Phoenix:
    """A client for `url`, or for the server on this machine."""
    return Phoenix(url or local_url(read_settings()), api_key, retry_policy=CLI_RETRY_POLICY)


def local_url(settings: Settings) -> str:
    """The URL at which `phoenix up` serves this data folder, or else the URL that `phoenix api` would serve.

    Waits for a server that is just starting, so that a command may follow `phoenix up &` directly.
    """
    give_up_s = time.monotonic() + STARTING_WITHIN_S
    while (holder := find_holder(settings.data_dir)) and time.monotonic() < give_up_s:
        if holder.url:
            return holder.url
        time.sleep(0.1)
    return f"http://127.0.0.1:{settings.api.port}"


def is_phoenix(url: str) -> bool:
    """Whether Phoenix answers at `url`, and not another program on the same port."""
    try:
        response = httpx.get(f"{url}/health/live", timeout=2, trust_env=False)
        Health.model_validate_json(response.content)
    except (httpx.HTTPError, ValidationError):
        return False
    return True
