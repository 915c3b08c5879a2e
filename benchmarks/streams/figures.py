"""What is charged to a server: CPU, memory, lateness, and events that did not arrive."""

from collections.abc import Mapping, Sequence

import psutil


def cpu_s(process: psutil.Process) -> float:
    """User and system time so far."""
    times = process.cpu_times()
    return times.user + times.system


def pss_bytes(process: psutil.Process) -> int:
    return process.memory_full_info().pss


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    return {
        name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2)
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))
    }


def deliveries(
    events_by_stream: Mapping[int, int], newest_by_stream: Mapping[int, int], *, streams: int, rounds: int
) -> dict[str, float | int]:
    """What arrived of one event per round and stream; the last event has the number `rounds`.

    Less than every event is no loss: a replica that needs longer for a round than the next one takes to come sends only
    the newest progress. It is a loss if a stream does not end with the newest event.
    """
    received = list(events_by_stream.values()) + [0] * (streams - len(events_by_stream))
    up_to_date = sum(newest == rounds for newest in newest_by_stream.values())
    return {
        "delivered_share": round(sum(received) / (streams * rounds), 3),
        "fewest_events": min(received),
        "most_events": max(received),
        "up_to_date_share": round(up_to_date / streams, 3),
    }
