"""Broadcasts to all clients of a topic."""

import asyncio

from fixtures.event_examples import JOB_ID, clip_progress, job_queued
from phoenix.events.fanout.client_buffer import ClientBuffer, EventBatch
from phoenix.events.fanout.hub import BROADCAST_CHUNK, ConnectedClient, JobTopic, TopicClients
from phoenix.events.messages import EncodedEvent, encode

CAPACITY = 8
MANY = 2 * BROADCAST_CHUNK + 1


def crowd(count: int) -> tuple[TopicClients, list[ConnectedClient]]:
    everyone = [ConnectedClient(JobTopic(JOB_ID), ClientBuffer(CAPACITY)) for _ in range(count)]
    clients = TopicClients(CAPACITY)
    clients.update(everyone)
    return clients, everyone


async def has_events(client: ConnectedClient) -> bool:
    return await arrived(client) != EventBatch()


async def arrived(client: ConnectedClient) -> EventBatch:
    """The content of the buffer. A heartbeat makes an empty buffer return too."""
    client.buffer.put_heartbeat()
    batch = await client.buffer.wait()
    return EventBatch(batch.events, batch.needs_resync)


async def after_the_broadcast() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def seqs(events: list[EncodedEvent]) -> list[int]:
    return [encoded.seq for encoded in events]


async def test_few_clients_are_served_at_once() -> None:
    clients, everyone = crowd(BROADCAST_CHUNK)
    clients.broadcast(encode(job_queued(1)))
    assert all([await has_events(client) for client in everyone])


async def test_many_clients_are_served_in_chunks() -> None:
    clients, everyone = crowd(MANY)
    clients.broadcast(encode(job_queued(1)))
    # Asking a buffer that is not empty does not yield to the loop.
    assert sum([await has_events(client) for client in everyone]) == BROADCAST_CHUNK


async def test_every_one_of_many_clients_gets_each_event_once_and_in_order() -> None:
    clients, everyone = crowd(MANY)
    for seq in range(1, 5):
        clients.broadcast(encode(job_queued(seq)))
    await after_the_broadcast()
    assert all([seqs((await arrived(client)).events) == [1, 2, 3, 4] for client in everyone])


async def test_the_newest_progress_during_a_broadcast_is_kept_for_the_next_broadcast() -> None:
    clients, _ = crowd(MANY)
    for step in range(1, 5):
        clients.broadcast(encode(clip_progress(step)))
    first = next(iter(clients))
    before = (await arrived(first)).events
    await after_the_broadcast()
    after = (await arrived(first)).events
    assert [encoded.event for encoded in before + after] == [clip_progress(1), clip_progress(4)]


async def test_every_client_of_a_crowd_ends_with_the_newest_progress() -> None:
    clients, everyone = crowd(MANY)
    for step in range(1, 5):
        clients.broadcast(encode(clip_progress(step)))
    await after_the_broadcast()
    assert all([(await arrived(client)).events[-1].event == clip_progress(4) for client in everyone])


async def test_more_durable_events_than_fit_during_a_broadcast_are_left_to_the_log() -> None:
    clients, everyone = crowd(MANY)
    for seq in range(1, CAPACITY + 3):
        clients.broadcast(encode(job_queued(seq)))
    await after_the_broadcast()
    assert all([(await arrived(client)).needs_resync for client in everyone])


async def test_after_the_broadcast_an_event_starts_a_new_one() -> None:
    clients, everyone = crowd(MANY)
    clients.broadcast(encode(job_queued(1)))
    await after_the_broadcast()
    clients.broadcast(encode(job_queued(2)))
    await after_the_broadcast()
    assert all([seqs((await arrived(client)).events) == [1, 2] for client in everyone])


async def test_a_client_that_connects_during_a_broadcast_gets_the_events_after_it() -> None:
    clients, _ = crowd(MANY)
    clients.broadcast(encode(job_queued(1)))
    late = ConnectedClient(JobTopic(JOB_ID), ClientBuffer(CAPACITY))
    clients.add(late)
    clients.broadcast(encode(job_queued(2)))
    await after_the_broadcast()
    assert seqs((await arrived(late)).events) == [2]


async def test_a_disconnect_during_a_broadcast_does_not_end_it() -> None:
    clients, everyone = crowd(MANY)
    clients.broadcast(encode(job_queued(1)))
    for client in everyone[: BROADCAST_CHUNK + 1]:
        clients.discard(client)
    await after_the_broadcast()
    assert all([await has_events(client) for client in clients])
