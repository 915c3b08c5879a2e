"""Streams of one job over a real Redis: what a client sees while messages are lost, late or repeated."""

import asyncio
import io
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import pytest

from fixtures.event_examples import (
    JOB_ID,
    OWNER_ID,
    a_clip,
    a_history,
    a_job,
    clip_progress,
    clip_started,
    clip_succeeded,
    job_canceled,
    job_queued,
    job_started,
)
from fixtures.event_streams import TIMEOUT_S, StreamClient, Streams
from fixtures.log_lines import lines_about
from fixtures.redis_server import RedisServer
from phoenix.contract import DurableEvent, JobSnapshot, JobState
from phoenix.events.in_memory_log import MemoryEventLog
from phoenix.events.log_interface import LogHead
from phoenix.events.messages import EventEnvelope

TOO_LATE = "the heads of the log were not read in time"


def progress_steps(client: StreamClient) -> list[int]:
    return [frame.data["step"] for frame in client.events if frame.event == "clip.progress"]


async def is_unsubscribed(streams: Streams, job_id: str) -> bool:
    """Waits until Redis has no subscriber of the job's channel: a hub unsubscribes in the background."""
    channel = f"test:job:{job_id}"
    async with asyncio.timeout(TIMEOUT_S):
        while dict(await streams.redis.pubsub_numsub(channel))[channel.encode()]:  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.01)
    return True


def is_past_snapshot(client: StreamClient) -> bool:
    return any(frame.event == "snapshot" for frame in client.frames)


async def test_a_new_client_gets_a_retry_time_one_snapshot_and_then_every_event(streams: Streams) -> None:
    hub = await streams.open_hub()
    await streams.commit(*a_history(8)[:3])
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.commit(*a_history(8)[3:])
    await client.until_end()
    assert client.frames[0].retry_ms
    assert [frame.event for frame in client.events].count("snapshot") == 1
    assert client.events[0].data["seq"] == 3
    assert client.ids == [4, 5, 6, 7, 8]
    assert client.events[-1].event == "job.canceled"


async def test_the_first_bytes_come_before_anything_is_waited_for(streams: Streams, redis_server: RedisServer) -> None:
    hub = await streams.open_hub()
    redis_server.pause()
    client = streams.connect(hub)
    await client.until(lambda client: bool(client.frames))
    redis_server.resume()
    assert client.frames[0].retry_ms


@pytest.mark.parametrize("last_event_id", range(9))
async def test_a_client_that_resumes_gets_exactly_what_it_missed(streams: Streams, last_event_id: int) -> None:
    hub = await streams.open_hub()
    await streams.commit(*a_history(8))
    client = streams.connect(hub, last_event_id)
    await client.until_end()
    assert client.ids == list(range(last_event_id + 1, 9))
    assert "snapshot" not in [frame.event for frame in client.events]


@pytest.mark.parametrize("last_event_id", [-1, 99])
async def test_a_foreign_or_future_id_starts_with_a_snapshot(streams: Streams, last_event_id: int) -> None:
    hub = await streams.open_hub()
    await streams.commit(job_queued(1))
    client = streams.connect(hub, last_event_id)
    await client.until(is_past_snapshot)
    await streams.commit(job_canceled(2))
    await client.until_end()
    assert client.ids == [2]


async def test_a_finished_job_is_a_snapshot_and_its_terminal_event(streams: Streams) -> None:
    hub = await streams.open_hub()
    streams.log.put(a_job(state=JobState.CANCELED))
    await streams.commit(*a_history(5))
    client = streams.connect(hub)
    await client.until_end()
    assert [frame.event for frame in client.events] == ["snapshot", "job.canceled"]
    assert client.ids == [5]


async def test_a_finished_job_whose_log_was_deleted_is_a_snapshot_only(streams: Streams) -> None:
    hub = await streams.open_hub()
    streams.log.put(a_job(state=JobState.CANCELED))
    client = streams.connect(hub)
    await client.until_end()
    assert [frame.event for frame in client.events] == ["snapshot"]


async def test_an_unknown_job_ends_the_stream(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub, job_id="job_unknown")
    await client.until_end()
    assert client.events == []


async def test_a_job_that_is_deleted_ends_its_streams_at_the_heartbeat(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    streams.log.remove(JOB_ID)
    await client.until_end()
    assert client.frames[-1].retry_ms is None


async def test_a_terminal_event_that_nobody_published_ends_the_stream_at_the_heartbeat(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.commit(job_canceled(1), publish=False)
    await client.until_end()
    assert client.ids == [1]


async def test_a_gap_is_filled_from_the_log_at_once(streams: Streams) -> None:
    hub = await streams.open_hub(heartbeat_s=3600)
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.commit(*a_history(4)[:3], publish=False)
    await streams.commit(a_history(4)[3])
    await client.until_end()
    assert client.ids == [1, 2, 3, 4]


async def test_progress_reveals_a_lost_event_before_the_heartbeat(streams: Streams) -> None:
    hub = await streams.open_hub(heartbeat_s=3600)
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.commit(clip_started(1), publish=False)
    await streams.publisher.publish_progress(clip_progress(1, seq=1), OWNER_ID)
    await client.until_event("clip.progress")
    assert [frame.event for frame in client.events] == ["snapshot", "clip.started", "clip.progress"]


async def test_repeated_and_reordered_messages_are_sent_once_and_in_order(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    history = a_history(6)
    await streams.commit(*history, publish=False)
    for seq in (2, 1, 1, 4, 3, 2, 6, 5):
        await streams.publisher.publish(EventEnvelope(history[seq - 1], OWNER_ID))
    await client.until_end()
    assert client.ids == [1, 2, 3, 4, 5, 6]


async def test_a_stream_survives_the_loss_of_its_pubsub_connection(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    for event in a_history(9)[:-1]:
        await streams.redis.client_kill_filter(_type="pubsub")
        await streams.commit(event)
    await streams.redis.client_kill_filter(_type="pubsub")
    await streams.commit(a_history(9)[-1], publish=False)
    await client.until_end()
    assert client.ids == list(range(1, 10))


async def test_a_stream_survives_a_flush_of_redis(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.commit(*a_history(5)[:2])
    await streams.redis.flushall()
    await streams.commit(*a_history(5)[2:])
    await client.until_end()
    assert client.ids == [1, 2, 3, 4, 5]


async def test_a_stream_goes_on_live_after_redis_was_killed_and_came_back(
    streams: Streams, redis_server: RedisServer
) -> None:
    hub = await streams.open_hub(heartbeat_s=0.2)
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    redis_server.kill()
    await streams.commit(*a_history(9)[:4])
    await client.until(lambda client: client.ids == [1, 2, 3, 4])
    redis_server.start()
    # Progress is never in the log: that it arrives shows that the channel is subscribed again.
    for step in range(1, 5000):
        await streams.publisher.publish_progress(clip_progress(step, seq=4, clip_index=0), OWNER_ID)
        await asyncio.sleep(0.02)
        if progress_steps(client):
            break
    await streams.commit(*a_history(9)[4:])
    await client.until_end()
    assert progress_steps(client)
    assert client.ids == list(range(1, 10))


async def test_while_redis_is_frozen_streams_start_and_move_at_each_heartbeat(
    streams: Streams, redis_server: RedisServer
) -> None:
    hub = await streams.open_hub(is_patient=False)
    early = streams.connect(hub)
    await early.until(is_past_snapshot)
    redis_server.pause()
    late = streams.connect(hub)
    streams.log.put(a_job(state=JobState.CANCELED))
    await streams.commit(*a_history(3), publish=False)
    await asyncio.gather(early.until_end(), late.until_end())
    redis_server.resume()
    assert early.ids == [1, 2, 3]
    assert late.ids[-1] == 3


async def test_a_slow_client_loses_no_durable_event_and_gets_only_the_newest_progress(streams: Streams) -> None:
    hub = await streams.open_hub(client_buffer_size=8)
    slow, fast = streams.connect(hub), streams.connect(hub)
    await asyncio.gather(slow.until(is_past_snapshot), fast.until(is_past_snapshot))
    slow.may_read.clear()
    for event in a_history(60)[:-1]:
        await streams.commit(event)
        await streams.publisher.publish_progress(clip_progress(event.seq, seq=event.seq, clip_index=0), OWNER_ID)
    await fast.until(lambda client: progress_steps(client)[-1:] == [59] and client.ids[-1:] == [59])
    slow.may_read.set()
    await streams.commit(a_history(60)[-1])
    await asyncio.gather(slow.until_end(), fast.until_end())
    assert slow.ids == fast.ids == list(range(1, 61))
    assert len(progress_steps(slow)) < 5
    assert all(before < after for before, after in pairwise(progress_steps(slow)))


async def test_progress_of_the_job_rises_although_workers_know_different_progress(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    shares = [0.1, 0.4, 0.2, 0.5, 0.3]
    for step, share in enumerate(shares, 1):
        await streams.publisher.publish_progress(clip_progress(step, clip_index=step % 2, job_progress=share), OWNER_ID)
        await client.until(lambda client, step=step: len(progress_steps(client)) == step)
    sent = [frame.data["job_progress"] for frame in client.events if frame.event == "clip.progress"]
    assert sent == [0.1, 0.4, 0.4, 0.5, 0.5]


async def test_progress_older_than_the_snapshot_is_not_sent(streams: Streams) -> None:
    streams.log.put(a_job(progress=0.5, clips=[a_clip(step=5)]))
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.publisher.publish_progress(clip_progress(3), OWNER_ID)
    await streams.commit(clip_succeeded(1), job_canceled(2))
    await client.until_end()
    assert progress_steps(client) == []


async def test_an_idle_stream_gets_a_comment_at_every_heartbeat(streams: Streams) -> None:
    hub = await streams.open_hub(heartbeat_s=0.05)
    client = streams.connect(hub)
    await client.until(lambda client: sum(frame.is_comment for frame in client.frames) >= 3)
    assert all(frame.id is None and frame.event is None for frame in client.frames if frame.is_comment)


async def test_an_old_stream_asks_its_client_to_reconnect_and_loses_nothing(streams: Streams) -> None:
    hub = await streams.open_hub(max_stream_age_s=0.3)
    first = streams.connect(hub)
    await first.until(is_past_snapshot)
    await streams.commit(*a_history(4)[:2])
    await first.until_end()
    assert first.frames[-1].retry_ms is not None
    await streams.commit(*a_history(4)[2:])
    # It may have grown old before its first event.
    second = streams.connect(hub, first.ids[-1] if first.ids else 0)
    await second.until_end()
    assert first.ids + second.ids == [1, 2, 3, 4]


async def test_a_closing_hub_ends_its_streams_with_spread_reconnection_times(streams: Streams) -> None:
    hub = await streams.open_hub(retry_ms=2000)
    clients = [streams.connect(hub) for _ in range(50)]
    await asyncio.gather(*(client.until(is_past_snapshot) for client in clients))
    hub.close_streams()
    await asyncio.gather(*(client.until_end() for client in clients))
    times_ms = [client.frames[-1].retry_ms or 0 for client in clients]
    assert min(times_ms) >= 2000
    assert max(times_ms) - min(times_ms) > 1000
    late = streams.connect(hub)
    await late.until_end()
    assert [frame.event for frame in late.events] == ["snapshot"]


async def test_clients_that_reconnect_at_random_miss_nothing_and_see_nothing_twice(streams: Streams) -> None:
    replicas = [await streams.open_hub(heartbeat_s=5), await streams.open_hub(heartbeat_s=5)]
    history = a_history(150)

    async def follow() -> list[int]:
        seen: list[int] = []
        for turn in range(1000):
            client = streams.connect(replicas[turn % 2], seen[-1] if seen else 0)
            try:
                # Fewer may be left than it would stay for.
                await client.until(lambda client, enough=turn % 7: len(client.ids) > enough or 150 in client.ids)
            finally:
                await client.leave()
            seen += client.ids
            if seen[-1] == len(history):
                break
        return seen

    followers = [asyncio.create_task(follow()) for _ in range(4)]
    for event in history:
        await streams.commit(event)
    for seen in await asyncio.gather(*followers):
        assert seen == list(range(1, 151))


async def test_connecting_and_leaving_many_times_leaves_no_subscription_behind(streams: Streams) -> None:
    hub = await streams.open_hub()
    before = len(asyncio.all_tasks())
    for turn in range(200):
        client = streams.connect(hub, job_id=JOB_ID)
        await client.until(is_past_snapshot if turn % 2 else lambda client: bool(client.frames))
        await client.leave()
    assert hub.streams == 0
    assert await is_unsubscribed(streams, JOB_ID)
    assert len(asyncio.all_tasks()) <= before


async def test_many_streams_share_one_pubsub_connection_and_one_query(streams: Streams) -> None:
    log = CountingLog()
    hub = await streams.open_hub(log, heartbeat_s=0.3)
    jobs = [f"job_{number}" for number in range(40)]
    for job_id in jobs:
        log.put(a_job(job_id))
    clients = [streams.connect(hub, job_id=job_id, log=streams.log) for job_id in jobs]
    for job_id in jobs:
        streams.log.put(a_job(job_id))
    await asyncio.gather(*(client.until(lambda client: client.frames[-1].is_comment) for client in clients))
    assert len(await streams.redis.client_list("pubsub")) == 1
    assert max(log.asked) == 40


async def test_streams_stay_open_while_the_log_cannot_be_read(streams: Streams) -> None:
    log = CountingLog()
    log.put(a_job())
    hub = await streams.open_hub(log)
    client = streams.connect(hub, log=log)
    await client.until(is_past_snapshot)
    log.is_away = True
    beats = len(client.frames)
    await client.until(lambda client: len(client.frames) > beats + 3)
    log.is_away = False
    log.append(job_canceled(1))
    await client.until_end()
    assert client.ids == [1]


async def test_a_stream_that_cannot_read_the_log_asks_its_client_to_reconnect(streams: Streams) -> None:
    log = CountingLog()
    hub = await streams.open_hub()
    log.is_away = True
    client = streams.connect(hub, log=log)
    await client.until_end()
    assert [frame.retry_ms is not None for frame in client.frames] == [True, True]


async def test_a_log_that_answers_too_late_is_asked_again_and_logged(streams: Streams, log_lines: io.StringIO) -> None:
    log = CountingLog()
    log.put(a_job())
    hub = await streams.open_hub(log)
    client = streams.connect(hub, log=log)
    await client.until(is_past_snapshot)
    log.may_answer.clear()
    await client.until(lambda _client: bool(lines_about(log_lines, TOO_LATE)))
    log.may_answer.set()
    log.append(job_canceled(1))
    await client.until_end()
    assert client.ids == [1]
    assert "exception" not in lines_about(log_lines, TOO_LATE)[0]


async def test_a_message_that_is_not_an_event_is_ignored(streams: Streams) -> None:
    hub = await streams.open_hub()
    client = streams.connect(hub)
    await client.until(is_past_snapshot)
    await streams.redis.publish(f"test:job:{JOB_ID}", b"\xff nonsense")
    await streams.commit(job_started(1), job_canceled(2))
    await client.until_end()
    assert client.ids == [1, 2]


class CountingLog(MemoryEventLog):
    """A log that counts the jobs of each query, and can be away or slow."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def heads(self, job_ids: Collection[str]) -> Mapping[str, LogHead]:
        self._refuse()
        await self.may_answer.wait()
        self.asked.append(len(job_ids))
        return await super().heads(job_ids)

    async def replay(self, job_id: str, after_seq: int) -> Sequence[DurableEvent]:
        self._refuse()
        return await super().replay(job_id, after_seq)

    async def snapshot(self, job_id: str) -> JobSnapshot:
        self._refuse()
        return await super().snapshot(job_id)

    def _refuse(self) -> None:
        if self.is_away:
            raise ConnectionError("the database is away")
