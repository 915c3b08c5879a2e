"""Pictures that a request for a video names by URL, fetched from a web server with TLS: conditions of the clip."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.api import Api, open_api
from fixtures.certificates import Authority, pem_of
from fixtures.lookups import answer_lookups
from phoenix.settings import Settings

HOST = "pictures.example"
I2V, WITH_REFERENCES = "wan-2.1-i2v-14b-480p", "wan-2.1-vace-1.3b"


@dataclass
class PictureSite:
    """A web server on this machine, for which the tests have a name and a certificate. Anything else is not found."""

    ca_file: Path
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    requests: list[str] = field(default_factory=list[str])
    port: int = 0

    def url(self, path: str = "/first.png") -> str:
        return f"https://{HOST}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        body = self.files.get(head.split()[1])
        status = b"200 OK" if body is not None else b"404 Not Found"
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body or b""), body or b""))
        await writer.drain()
        writer.close()


@pytest.fixture
async def site(tmp_path: Path, png_bytes: bytes, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PictureSite]:
    authority, folder = Authority(), tmp_path / "site"
    folder.mkdir()
    served = PictureSite(folder / "authority.pem")
    served.ca_file.write_bytes(pem_of(authority.root().certificate))
    files = authority.web_server(HOST).write(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate or "", files.key)
    served.files["/first.png"] = png_bytes
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0, ssl=context)
    served.port = server.sockets[0].getsockname()[1]
    answer_lookups(monkeypatch, ["127.0.0.1"])
    async with server:
        yield served


@asynccontextmanager
async def allowed_api(settings: Settings, site: PictureSite, **changes: Any) -> AsyncIterator[Api]:
    """The application with an operator's permission to fetch from this site, changed by `changes`."""
    permission = {"fetch_ca_file": site.ca_file, "fetch_ports": (site.port,), "fetch_allow_private": True}
    media = settings.media.model_copy(update=permission | changes)
    async with open_api(settings.model_copy(update={"media": media}), leads=False) as api:
        yield api


async def ask(api: Api, model: str, **body: Any) -> httpx.Response:
    headers = {"Authorization": "Bearer phx_secret", "Cookie": "a=b"}
    return await api.http.post("/v1/videos", json={"model": model, "prompt": "a cat", **body}, headers=headers)


def at(url: str, **more: str) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": url}, **more}]


@pytest.mark.parametrize(
    ("model", "role", "body"),
    [
        (I2V, "first_frame", lambda url: {"frame_images": at(url, frame_type="first_frame")}),
        (WITH_REFERENCES, "reference", lambda url: {"input_references": at(url)}),
        (I2V, "first_frame", lambda url: {"input_reference": {"image_url": url}}),
    ],
    ids=["frame_images", "input_references", "input_reference"],
)
async def test_a_picture_behind_a_url_is_stored_as_a_condition(
    api_settings: Settings, site: PictureSite, model: str, role: str, body: Any
) -> None:
    async with allowed_api(api_settings, site) as api:
        response = await ask(api, model, **body(site.url()))

        assert response.status_code in (200, 202), response.text
        job = await api.show("job_" + response.json()["id"].removeprefix("video_"))
        (condition,) = job["request"]["clips"][0]["conditions"]
        artifact_id = condition["source"]["artifact_id"]
        stored = (await api.http.get(f"/v1/artifacts/{artifact_id}/content")).content
        name = (await api.http.get(f"/v1/artifacts/{artifact_id}")).json()["filename"]

    assert (condition["role"], name, stored) == (role, "first.png", site.files["/first.png"])
    assert not {"authorization", "cookie"} & {line.partition(":")[0].lower() for line in site.requests[0].splitlines()}


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"fetch_allow_private": False}, "/first.png", "could not be fetched: no usable response"),
        ({"fetch_ca_file": None}, "/first.png", "could not be fetched: no usable response"),
        ({"fetch_ports": (443,)}, "/first.png", "only URLs of port 443 are fetched"),
        ({}, "/missing.png", "the URL returned status 404"),
        ({}, "/page.html", "This file cannot be used"),
    ],
    ids=["a private address", "an unknown authority", "a port", "no file", "no picture"],
)
async def test_a_picture_that_may_not_or_cannot_be_fetched_is_refused_by_its_field(
    api_settings: Settings, site: PictureSite, changes: dict[str, Any], path: str, said: str
) -> None:
    site.files["/page.html"] = b"<!doctype html>"
    async with allowed_api(api_settings, site, **changes) as api:
        response = await ask(api, I2V, frame_images=at(site.url(path), frame_type="first_frame"))
        stored = api.stored_files()

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "frame_images.0"
    assert said in response.json()["error"]["message"]
    assert bool(site.requests) == (not changes)
    assert stored == []
