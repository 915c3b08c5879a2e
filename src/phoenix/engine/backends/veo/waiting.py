"""Waits for a slow call interruptibly: a stop takes milliseconds, whatever the network does."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from phoenix.engine.stopping import StopToken

_Result = TypeVar("_Result")


def call_interruptibly(call: Callable[[], _Result], stop: StopToken) -> _Result:
    """Runs the call in a thread of its own. Raises `RenderStopped` when asked to stop; its result is then lost.

    The thread ends when the call's own time limit does.
    """
    done, outcome = threading.Event(), Future[_Result]()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 (passed on to the waiting thread)
            outcome.set_exception(error)
        finally:
            done.set()

    stop.check()
    with stop.calling(done.set):
        threading.Thread(target=run, name="veo-poll", daemon=True).start()
        done.wait()
    stop.check()
    return outcome.result()
