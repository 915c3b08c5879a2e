"""`phoenix bench --arrangements frames`: what the clients of each arrangement of the frames service see."""

from rich.console import Console

from phoenix.cli.bench.frames import FrameArrangement, FrameArrangements, compare_frames, frame_lines, frame_table


def report(*arrangements: FrameArrangement) -> FrameArrangements:
    return FrameArrangements(
        model="drawn-mouth", width=512, height=512, window_ms=10, clients=8, arrangements=list(arrangements)
    )


def shown(found: FrameArrangements) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(frame_table(found))
    return capture.get()


ONE = FrameArrangement(
    name="one at a time",
    devices=["cpu"],
    batch=1,
    frames=50,
    latency_p50_ms=20.0,
    latency_p95_ms=30.0,
    latency_p99_ms=40.0,
    frames_per_s=48.0,
    memory_bytes=95_000_000,
)


def test_each_arrangement_is_measured_with_processes_of_its_own():
    shown_states: list[str] = []
    found = compare_frames(
        device="cpu", processes=1, batch=2, clients=2, clips_per_client=1, show_status=shown_states.append
    )
    assert shown_states == ["one at a time", "batched"]
    assert [(each.batch, each.frames, each.failure) for each in found.arrangements] == [(1, 50, None), (2, 50, None)]
    for each in found.arrangements:
        assert 0 < (each.latency_p50_ms or 0) <= (each.latency_p95_ms or 0) <= (each.latency_p99_ms or 0)
        assert (each.frames_per_s or 0) > 0


def test_the_table_compares_each_arrangement_with_the_first_one():
    batched = ONE.model_copy(update={"name": "batched", "batch": 4, "frames_per_s": 96.0, "memory_bytes": None})
    lines = shown(report(ONE, batched)).splitlines()
    measured = ["20.00", "30.00", "40.00", "48.0", "1.00", "95.0", "MB"]
    assert lines[1].split() == ["one", "at", "a", "time", "1", "1", *measured]
    assert lines[2].split()[-3:] == ["96.0", "2.00", "-"]


def test_an_arrangement_that_cannot_be_used_is_listed_with_the_reason():
    failed = FrameArrangement(name="hybrid", devices=["cpu"], batch=4, failure="no memory")
    assert list(frame_lines(report(ONE, failed)))[1:] == ["  hybrid: no memory"]
    assert "hybrid" in shown(report(ONE, failed))
