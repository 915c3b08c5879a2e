"""What clients that never read cost a replica: a bounded piece of memory, and for no longer than a while."""

import asyncio
import io
import re
import wave
from contextlib import ExitStack

import httpx
import psutil

from fixtures.fleet import ApiReplica
from fixtures.stream_fleet import TIMEOUT_S, StreamFleet, open_unread
from phoenix.storage.store import SEND_CHUNK_BYTES

CLIENTS = 100
PREVIEW_BYTES = 10_000
"""The largest that the contract allows."""
BOUND_BYTES = 8_000_000
DOWNLOADS = 40
DOWNLOAD_BYTES = SEND_CHUNK_BYTES + 150_000
"""The chunk that waits, and the tasks of the request."""


def count_clients(process: psutil.Process) -> int:
    found = process.net_connections("tcp")
    listening = {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port in listening for each in found)


async def all_have_their_stream(replica: ApiReplica) -> None:
    """The kernel accepts connections long before the replica has read what they ask for, and each stream costs."""
    client = httpx.AsyncClient(base_url=replica.url, trust_env=False, timeout=TIMEOUT_S)
    async with asyncio.timeout(TIMEOUT_S), client as http:
        while f"phoenix_streams_open {float(CLIENTS)}" not in (await http.get("/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_hundred_clients_that_never_read_are_dropped_and_cost_little_memory(stream_fleet: StreamFleet) -> None:
    driver, replica = stream_fleet.driver, stream_fleet.replicas[0]
    job_id = await driver.submit()
    claimed = await driver.claim(job_id)
    process = psutil.Process(replica.pid)
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(open_unread(replica.url, f"/v1/jobs/{job_id}/events"))
        await all_have_their_stream(replica)
        before = most = process.memory_info().rss
        # A socket on a loopback address takes some megabytes before a writer notices that nobody reads.
        async with asyncio.timeout(2 * TIMEOUT_S):
            while count_clients(process):
                for _ in range(20):
                    await driver.preview(claimed, size_bytes=PREVIEW_BYTES)
                most = max(most, process.memory_info().rss)

    assert most - before < BOUND_BYTES
    assert "Traceback" not in stream_fleet.log.read_text()


async def test_downloads_that_are_never_read_are_dropped_and_cost_one_chunk_each(stream_fleet: StreamFleet) -> None:
    replica = stream_fleet.replicas[0]
    process = psutil.Process(replica.pid)
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((2, 2, 48_000, 0, "NONE", ""))
        file.writeframes(bytes(4_000_000))
    async with httpx.AsyncClient(base_url=replica.url, trust_env=False, timeout=TIMEOUT_S) as http:
        path = (await http.post("/v1/uploads", files={"file": ("sound.wav", sound.getvalue())})).json()["url"]
        await http.get(path)
        before = most = process.memory_info().rss
        cut_before = await count_cut_off(http)
        with ExitStack() as stack:
            for _ in range(DOWNLOADS):
                stack.enter_context(open_unread(replica.url, path))
            async with asyncio.timeout(TIMEOUT_S):
                while await count_cut_off(http) < cut_before + DOWNLOADS:
                    most = max(most, process.memory_info().rss)
                    await asyncio.sleep(0.05)

    assert most - before < DOWNLOADS * DOWNLOAD_BYTES
    assert "Traceback" not in stream_fleet.log.read_text()


async def count_cut_off(http: httpx.AsyncClient) -> float:
    """How many clients the replica has cut off since its start."""
    found = re.search(r"^phoenix_stalled_sends_total (\S+)$", (await http.get("/metrics")).text, re.MULTILINE)
    assert found
    return float(found[1])
