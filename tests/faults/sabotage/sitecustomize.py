"""Takes one safety out of a process of Phoenix, to show that the fault suite notices. Names are in SABOTAGE.

Python imports this by itself where this folder is on PYTHONPATH: nothing in the package knows of it.
"""

import os
import signal
from collections.abc import Callable

# ruff: noqa: PLC0415 - each sabotage imports only what it breaks


def disable_fence() -> None:
    """Whoever reports an end is believed, also for an attempt that was taken away."""
    from phoenix.jobs.execution import task_completion

    task_completion._is_held_by = lambda claim, task: True


def ignore_lost_leases() -> None:
    """The worker works on when it has lost its lease: nothing but the fence in SQL is left."""
    from phoenix.engine.stop_token import StopReason, StopToken

    stop = StopToken.stop

    def ignore_losses(token: StopToken, reason: StopReason) -> None:
        if reason is not StopReason.LOST:
            stop(token, reason)

    StopToken.stop = ignore_losses


def take_out_lease_reaper() -> None:
    from phoenix.api.background import lease_reaper as reaper

    async def find_none(session: object) -> list[tuple[str, str]]:
        return []

    reaper.list_expired_leases = find_none


def disable_repair() -> None:
    from phoenix.api.background.dispatcher import Dispatcher

    async def believe_redis(dispatcher: Dispatcher) -> None:
        return None

    Dispatcher._redispatch_lost = believe_redis


def add_poison() -> None:
    """A clip whose prompt says so takes its worker process down with it."""
    from phoenix.engine.backends.animatic.engine import AnimaticEngine
    from phoenix.engine.interface import ClipInputs, RenderedClip, RenderObserver

    render = AnimaticEngine.render

    def render_or_die(engine: AnimaticEngine, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        if "poison" in inputs.clip.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        return render(engine, inputs, observer)

    AnimaticEngine.render = render_or_die


def add_hang() -> None:
    """The first clip whose prompt says so hangs, deaf to being stopped; the next one of that prompt goes well."""
    import threading
    from pathlib import Path

    from phoenix.engine.backends.animatic.engine import AnimaticEngine
    from phoenix.engine.interface import ClipInputs, RenderedClip, RenderObserver

    render = AnimaticEngine.render
    once = Path(os.environ["PHOENIX_DATA_DIR"]) / "has-hung"

    def render_or_hang(engine: AnimaticEngine, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        if "hang" in inputs.clip.prompt and not once.exists():
            once.touch()
            threading.Event().wait()
        return render(engine, inputs, observer)

    AnimaticEngine.render = render_or_hang


def set_clock_wrong(by_s: float) -> None:
    """The host's wall clock is wrong; its monotonic clock, and the database's clock, are not."""
    import time
    from datetime import datetime, timedelta

    from phoenix import clock

    time_s, utc_now = time.time, clock.utc_now

    def wrong_now() -> datetime:
        return utc_now() + timedelta(seconds=by_s)

    time.time = lambda: time_s() + by_s
    clock.utc_now = wrong_now


SABOTAGES: dict[str, Callable[[], None]] = {
    "fence": disable_fence,
    "deaf": ignore_lost_leases,
    "lease-reaper": take_out_lease_reaper,
    "repair": disable_repair,
    "poison": add_poison,
    "hang": add_hang,
    "hour-ahead": lambda: set_clock_wrong(3600),
    "hour-behind": lambda: set_clock_wrong(-3600),
}

for name in os.environ.get("SABOTAGE", "").split():
    SABOTAGES[name]()
