"""What is secret is in no log line, not even at DEBUG."""

import re
import socket
from collections.abc import Callable

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from fixtures.api import reel_body
from fixtures.llm_server import SAID_BY_THE_LLM, LlmServer, refusal
from fixtures.up_process import PhoenixProcess, PhoenixStarter, wait_until
from phoenix.access.keys import Scope, create_key
from phoenix.access.tables import SecretRow
from phoenix.db import Database

CANARY = "canary-b7f3"


@pytest.fixture
def closed_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


LLM_KEY = "canary-llm-key-5d1e"


@pytest.fixture
def start_at_debug(
    start_phoenix: PhoenixStarter, any_database_url: URL, redis_url: str, closed_port: int, llm_server: LlmServer
) -> Callable[[], PhoenixProcess]:
    """Starts an API process that logs at DEBUG, requires keys, and may send webhooks to this machine.

    Its language model refuses every request, with a text that repeats a part of the key.
    """
    llm_server.script = [refusal(401), refusal(429)]
    return lambda: start_phoenix(
        "api",
        DATABASE_URL=any_database_url.render_as_string(hide_password=False),
        REDIS_URL=redis_url,
        PHOENIX_AUTH="required",
        PHOENIX_API__PORT="0",
        PHOENIX_LOG__LEVEL="DEBUG",
        PHOENIX_LLM__BASE_URL=llm_server.url,
        PHOENIX_LLM__API_KEY=LLM_KEY,
        PHOENIX_LLM__MODEL="scripted",
        PHOENIX_LLM__MAX_RETRIES="0",
        PHOENIX_WEBHOOKS__PORTS=str(closed_port),
        PHOENIX_WEBHOOKS__ALLOW_HTTP="true",
        PHOENIX_WEBHOOKS__ALLOW_PRIVATE="true",
    )


def url_in(log: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", log)
    assert found
    return found.group()


def make_secrets(http: httpx.Client, webhook_url: str) -> list[str]:
    """Makes and uses every kind of secret that a client can cause. Returns them."""
    secrets = [http.get("/v1/webhooks/secret").json()["secret"]]
    secrets.append(http.post("/v1/webhooks/secret/rotate").json()["secret"])
    job = http.post("/v1/reels", json=reel_body(webhook={"url": webhook_url})).json()
    token = http.post(f"/v1/jobs/{job['id']}/stream-tokens").json()
    http.post(f"/v1/jobs/{job['id']}/cancel")
    assert "job.canceled" in http.get(token["url"], headers={"Authorization": ""}).text
    for _ in range(2):
        written = http.post("/v1/storyboards", json={"idea": "a boat"}).json()
        assert written["state"] == "failed"
        assert "canary" not in written["error"]["message"]
    media = http.post(f"/v1/jobs/{job['id']}/media-tokens").json()["content"]
    assert http.get(media, headers={"Authorization": ""}).status_code == 409
    wait_until(lambda: http.get("/v1/webhooks/deliveries").json()["data"][0]["last_error"] is not None)
    return [*secrets, token["token"], media.partition("token=")[2]]


async def test_at_debug_no_secret_is_logged(
    start_at_debug: Callable[[], PhoenixProcess], database: Database, closed_port: int
) -> None:
    async with database.write() as uow:
        key = await create_key(uow, "somebody", {Scope.READ, Scope.WRITE})
    process = start_at_debug()
    process.wait_for_log("Application startup complete")
    process.wait_for_log("Uvicorn running")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url_in(process.log), headers=headers, timeout=100) as http:
        secrets = make_secrets(http, f"http://127.0.0.1:{closed_port}/hook?key={CANARY}")
    async with database.read() as session:
        signing = list(await session.scalars(select(SecretRow.value)))

    log = process.log

    assert len(signing) == 1
    assert [secret for secret in (key, CANARY, LLM_KEY, SAID_BY_THE_LLM, *signing, *secrets) if secret in log] == []


async def test_the_text_of_a_database_error_has_no_bound_value(database: Database) -> None:
    async with database.write() as uow:
        uow.session.add(SecretRow(name="one", value=CANARY))

    with pytest.raises(DBAPIError) as caught:
        async with database.write() as uow:
            uow.session.add(SecretRow(name="one", value=CANARY))

    assert CANARY not in str(caught.value)
