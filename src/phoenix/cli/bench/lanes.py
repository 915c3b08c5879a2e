"""Runs arrangements: processes that make clips, one line of JSON per clip, and clients that ask for them.

`compare` is the side of `phoenix bench --arrangements`, and `run_lane` the side of its child processes. They start as
`python -m phoenix.cli.bench.lanes`. The first line that a child reads is a `LaneStart`. Each further line is the number
of a clip. Each line that it prints is a `LaneAnswer`.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

from phoenix.child_processes import tied
from phoenix.cli.bench.arrangements import (
    Arrangement,
    ArrangementReport,
    ArrangementsReport,
    list_arrangements,
    report_arrangement,
    report_failure,
)
from phoenix.cli.bench.report import Machine, PeakMemory
from phoenix.cli.bench.run import Bench, find_devices, find_model_and_reel, open_bench, peak_memory
from phoenix.contract import ReelRequest, ResolvedClip, View
from phoenix.engine.batch_rules import max_batch_size
from phoenix.engine.device import pick_device
from phoenix.errors import PhoenixError
from phoenix.telemetry.logs import configure_logs

END_WITHIN_S = 60
_print_lock = threading.Lock()


class LaneStart(View):
    """What the process makes, on which device, and how many clips one call of the model may have."""

    request: ReelRequest
    device: str
    batch: int


class LaneAnswer(View):
    """A clip that was made, by its number, or why it was not; or, at the end, the memory."""

    made: int | None = None
    failure: str | None = None
    memory: PeakMemory | None = None


def run_lane() -> None:
    """Reads numbers of clips until its input ends."""
    configure_logs(level="ERROR", json_lines=False)
    start = LaneStart.model_validate_json(sys.stdin.readline())
    try:
        model, reel, settings = find_model_and_reel(start.request)
        machine = Machine(device="cpu" if model.engine == "animatic" else pick_device(start.device), name="")
        with (
            open_bench(model, reel, settings, machine.device, batch=start.batch) as bench,
            ThreadPoolExecutor(max_workers=start.batch) as threads,
        ):
            for line in sys.stdin:
                threads.submit(_make, bench, reel.clips[0], int(line))
        _answer(LaneAnswer(memory=peak_memory(machine)))
    except PhoenixError as error:
        _answer(LaneAnswer(failure=str(error)))


def _make(bench: Bench, clip: ResolvedClip, number: int) -> None:
    try:
        bench.make([clip.model_copy(update={"index": number, "seed": number})])
        _answer(LaneAnswer(made=number))
    except Exception as error:  # noqa: BLE001 - the parent waits for an answer
        _answer(LaneAnswer(made=number, failure=str(error) or type(error).__name__))


def _answer(answer: LaneAnswer) -> None:
    with _print_lock:
        print(answer.model_dump_json(), flush=True)


class LaneFailed(PhoenixError):
    """A process of an arrangement cannot make the clip."""


class Lane:
    """A process that makes clips on one device. `run_lane` is its other side."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._memory: asyncio.Future[PeakMemory] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    async def make(self, number: int) -> None:
        """Returns when the clip is in its file. Raises `LaneFailed`."""
        if self._reading.done():
            raise LaneFailed("A process of the benchmark has ended.")
        made = self._asked[number] = asyncio.get_running_loop().create_future()
        self._write(f"{number}\n")
        await made

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())

    async def finish(self) -> PeakMemory:
        """Ends the process. Returns the most memory that it has used."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self._memory

    async def close(self) -> None:
        """Ends the process, also while it makes a clip."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.gather(self._reading, self._process.wait(), return_exceptions=True)
        if self._memory.done():
            self._memory.exception()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        reason = "A process of the benchmark has ended."
        while line := await self._process.stdout.readline():
            answer = LaneAnswer.model_validate_json(line)
            if answer.memory is not None:
                self._memory.set_result(answer.memory)
            elif answer.made is not None:
                made = self._asked.pop(answer.made)
                if answer.failure is None:
                    made.set_result(None)
                else:
                    made.set_exception(LaneFailed(answer.failure))
            else:
                reason = answer.failure or reason
        for waiting in [*self._asked.values(), self._memory]:
            if not waiting.done():
                waiting.set_exception(LaneFailed(reason))


async def _start_lane(start: LaneStart) -> Lane:
    process = await asyncio.create_subprocess_exec(
        *tied([sys.executable, "-m", "phoenix.cli.bench.lanes"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(f"{start.model_dump_json(exclude_unset=True)}\n".encode())
    return Lane(process)


def compare(
    request: ReelRequest,
    *,
    device: str,
    processes: int,
    batch: int,
    clients: int,
    clips_per_client: int,
    show_status: Callable[[str], None],
) -> ArrangementsReport:
    """Measures every arrangement of the devices. Raises the errors of `run.measure` before the first one starts."""
    model, reel, _ = find_model_and_reel(request)
    largest = max_batch_size(reel.clips[0], model, has_conditions=bool(model.needed_roles), limit=batch)
    reports = run_arrangements(
        list_arrangements(find_devices(model, device), processes=processes, batch=largest),
        request,
        clients=clients,
        clips_per_client=clips_per_client,
        show_status=show_status,
    )
    return ArrangementsReport(reel=reel, clients=clients, arrangements=reports)


def run_arrangements(
    arrangements: Sequence[Arrangement],
    request: ReelRequest,
    *,
    clients: int,
    clips_per_client: int,
    show_status: Callable[[str], None],
) -> list[ArrangementReport]:
    """Measures each arrangement with the same clients. A failure is reported, and the next arrangement is measured."""
    reports: list[ArrangementReport] = []
    for each in arrangements:
        show_status(f"{each.name} on {', '.join(each.devices)}")
        try:
            reports.append(asyncio.run(_measure(each, request, clients, clips_per_client)))
        except LaneFailed as failure:
            reports.append(report_failure(each, failure.detail))
    return reports


async def _measure(
    arrangement: Arrangement, request: ReelRequest, clients: int, clips_per_client: int
) -> ArrangementReport:
    async with AsyncExitStack() as stack:
        lanes: list[Lane] = []
        for device in arrangement.devices:
            lane = await _start_lane(LaneStart(request=request, device=device, batch=arrangement.batch))
            stack.push_async_callback(lane.close)
            lanes.append(lane)
        numbers = iter(range(1, arrangement.places + clients * clips_per_client + 1))
        # The first call of each process loads the model, and is as large as those that are measured.
        await asyncio.gather(*(lane.make(next(numbers)) for lane in lanes for _ in range(arrangement.batch)))
        free: asyncio.Queue[Lane] = asyncio.Queue()
        for _ in range(arrangement.batch):
            for lane in lanes:
                free.put_nowait(lane)
        latencies_s: list[float] = []
        began_s = time.perf_counter()
        await asyncio.gather(*(_ask(numbers, free, latencies_s) for _ in range(clients)))
        elapsed_s = time.perf_counter() - began_s
        async with asyncio.timeout(END_WITHIN_S):
            memory = [await lane.finish() for lane in lanes]
    summed = PeakMemory(peak_bytes=sum(each.peak_bytes for each in memory), of=memory[0].of)
    return report_arrangement(arrangement, latencies_s, elapsed_s, summed)


async def _ask(numbers: Iterator[int], free: asyncio.Queue[Lane], latencies_s: list[float]) -> None:
    """One client: asks for its next clip when it has the last one."""
    for number in numbers:
        asked_s = time.perf_counter()
        lane = await free.get()
        await lane.make(number)
        free.put_nowait(lane)
        latencies_s.append(time.perf_counter() - asked_s)


if __name__ == "__main__":
    run_lane()
