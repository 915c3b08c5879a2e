"""Takes one safety out of a process of Phoenix, to show that the fault suite notices. Names are in SABOTAGE.

Python imports this by itself where this folder is on PYTHONPATH: nothing in the package knows of it.
"""

import os
import signal
from collections.abc import Callable

# ruff: noqa: PLC0415 - each sabotage imports only what it breaks


def take_out_fence() -> None:
    """Whoever reports an end is believed, also for an attempt that was taken away."""
    from phoenix.jobs.execution import completion

    completion._holds = lambda claim, task: True


def go_deaf() -> None:
    """The worker works on when it has lost its lease: nothing but the fence in SQL is left."""
    from phoenix.engine.cancellation import StopReason, StopToken

    stop = StopToken.stop

    def ignore_losses(token: StopToken, reason: StopReason) -> None:
        if reason is not StopReason.LOST:
            stop(token, reason)

    StopToken.stop = ignore_losses


def take_out_sweeper() -> None:
    from phoenix.api.background import lease_reaper

    async def find_none(session: object) -> list[tuple[str, str]]:
        return []

    lease_reaper.list_lapsed = find_none


def take_out_repair() -> None:
    from phoenix.api.background.dispatcher import Feeder

    async def believe_redis(feeder: Feeder) -> None:
        return None

    Feeder._repair = believe_redis


def lay_poison() -> None:
    """A clip whose prompt says so takes its worker process down with it."""
    from phoenix.engine.backends.animatic.engine import AnimaticEngine
    from phoenix.engine.spec import ClipJob, RenderedClip, Watcher

    render = AnimaticEngine.render

    def render_or_die(engine: AnimaticEngine, job: ClipJob, watcher: Watcher) -> RenderedClip:
        if "poison" in job.clip.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        return render(engine, job, watcher)

    AnimaticEngine.render = render_or_die


def lay_a_hang() -> None:
    """The first clip whose prompt says so hangs, deaf to being stopped; the next one of that prompt goes well."""
    import threading
    from pathlib import Path

    from phoenix.engine.backends.animatic.engine import AnimaticEngine
    from phoenix.engine.spec import ClipJob, RenderedClip, Watcher

    render = AnimaticEngine.render
    once = Path(os.environ["PHOENIX_DATA_DIR"]) / "has-hung"

    def render_or_hang(engine: AnimaticEngine, job: ClipJob, watcher: Watcher) -> RenderedClip:
        if "hang" in job.clip.prompt and not once.exists():
            once.touch()
            threading.Event().wait()
        return render(engine, job, watcher)

    AnimaticEngine.render = render_or_hang


def set_clock_wrong(by_s: float) -> None:
    """The host's wall clock is wrong; its monotonic clock, and the database's clock, are not."""
    import time
    from datetime import datetime, timedelta

    from phoenix import clock

    tell_s, tell = time.time, clock.utc_now

    def wrong_now() -> datetime:
        return tell() + timedelta(seconds=by_s)

    time.time = lambda: tell_s() + by_s
    clock.utc_now = wrong_now


SABOTAGES: dict[str, Callable[[], None]] = {
    "fence": take_out_fence,
    "deaf": go_deaf,
    "sweeper": take_out_sweeper,
    "repair": take_out_repair,
    "poison": lay_poison,
    "hang": lay_a_hang,
    "hour-ahead": lambda: set_clock_wrong(3600),
    "hour-behind": lambda: set_clock_wrong(-3600),
}

for name in os.environ.get("SABOTAGE", "").split():
    SABOTAGES[name]()
