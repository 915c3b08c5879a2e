"""No URL of a client's makes this server call its own network: refused when it is submitted, without a packet sent."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from fixtures.api import Api, assert_problem, pointers, reel_body
from fixtures.log_lines import lines_about
from fixtures.lookups import answer_lookups
from phoenix.api.background.webhook_attempt import DeliveryOutcome, post
from phoenix.media.ssrf import EgressPolicy, open_pool

INSIDE = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://2130706433/",
    "https://0/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25lo]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254./",
    "https://metadata.google.internal/",
    "https://100.100.100.200/",
    "https://192.0.0.192/",
    "https://168.63.129.16/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://198.18.0.1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://good@127.0.0.1/",
    "https://good:pw@good.example/",
    "https://127.0.0.1\\@good.example/",
    "https://good.example:6379/",
    "https://good.example:0/",
    "https://localhost/",
    "https://localhost:6379/",
    "https://printer.local/",
    "https://intranet/",
    "http://good.example/",
    "http://127.0.0.1/",
    "file:///etc/passwd",
    "gopher://good.example/",
    "ftp://good.example/",
    "data:audio/wav;base64,AAAA",
    "unix:/var/run/docker.sock",
    "//good.example/",
    "https://",
    "https:///x",
    "https://good.example/" + "x" * 8192,
    "https://good.example/\r\nX-Evil: 1",
    "concat:/etc/passwd",
    "subfile,,start,0,end,0,,:/etc/passwd",
]


@pytest.fixture
async def tapped(api: Api) -> AsyncIterator[list[int]]:
    """The connections that were made to a port of this machine."""
    connections: list[int] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    connections_port = server.sockets[0].getsockname()[1]
    async with server:
        yield connections
        for form in (f"https://127.0.0.1:{connections_port}/", f"https://localhost:{connections_port}/"):
            await submit(api, form, "webhook")
        assert connections == []


async def submit(api: Api, url: str, field: str) -> dict[str, object]:
    response = await api.http.post("/v1/reels", json=reel_body(**{field: {"url": url}}))
    return assert_problem(response, 422, "INVALID_REQUEST")


@pytest.mark.parametrize("field", ["soundtrack", "webhook"])
async def test_a_url_that_leads_inside_is_refused(api: Api, tapped: list[int], field: str) -> None:
    for url in INSIDE:
        problem = await submit(api, url, field)
        assert pointers(problem) == [f"/{field}/url"], url
        assert "/etc/passwd" not in str(problem["errors"])

    assert (await api.http.get("/v1/jobs")).json()["data"] == []


async def test_the_source_of_a_soundtrack_job_is_held_to_the_same(api: Api) -> None:
    response = await api.http.post("/v1/soundtracks", json={"source": {"url": "https://169.254.169.254/"}})

    assert pointers(assert_problem(response, 422, "INVALID_REQUEST")) == ["/source/url"]


async def test_a_bad_url_is_reported_together_with_the_other_errors(api: Api) -> None:
    body = reel_body(model="sora-9", webhook={"url": "https://10.0.0.1/"}, soundtrack={"url": "https://10.0.0.1/"})

    problem = assert_problem(await api.http.post("/v1/reels", json=body), 422, "INVALID_REQUEST")

    assert pointers(problem) == ["/model", "/webhook/url", "/soundtrack/url"]


@pytest.mark.parametrize("url", ["https://good.example/hook", "https://8.8.8.8/", "https://bücher.example/a?b=c#d"])
async def test_a_public_url_is_accepted(api: Api, url: str) -> None:
    response = await api.http.post("/v1/reels", json=reel_body(webhook={"url": url}, soundtrack={"url": url}))

    assert response.status_code == 202, response.text


async def test_an_outcome_does_not_reveal_that_a_name_leads_inside(
    monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO
) -> None:
    async def try_webhook(addresses: list[str]) -> DeliveryOutcome:
        answer_lookups(monkeypatch, addresses)
        policy = EgressPolicy()
        async with open_pool(policy) as pool:
            return await post(pool, "https://hook.example/", b"{}", {}, policy=policy, timeout_s=60)

    # No address at all, as for a name that does not exist.
    outcomes = [await try_webhook(addresses) for addresses in ([], ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"])]

    assert outcomes == [DeliveryOutcome(error="No valid response.")] * 4
    logged = lines_about(log_lines, "a host was not called because its name leads to a private address")
    assert [line["host"] for line in logged] == ["hook.example"] * 3
