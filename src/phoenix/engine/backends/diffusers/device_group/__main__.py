"""The process of a rank: loads denoisers onto its device, and computes its part of their calls."""

import logging
import os
import queue
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.tuning import Parallelism
from phoenix.child_processes import name_process
from phoenix.engine.backends.diffusers.denoising.denoisers import denoisers_of
from phoenix.engine.backends.diffusers.device_group.dividing import divide, join_process_group
from phoenix.engine.backends.diffusers.device_group.messages import Channel, Message, on_device, pack_failure
from phoenix.engine.backends.diffusers.device_group.plan import Roles
from phoenix.engine.backends.diffusers.loading import load_denoisers, weight_bytes
from phoenix.engine.backends.diffusers.out_of_memory import run_clean
from phoenix.engine.device import pick_device, release_memory
from phoenix.errors import Stage, TaskFailed


class RankProcess:
    """What this rank has on its device."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._device = "cpu"
        self._pipelines: dict[str, Any] = {}
        self._roles: dict[str, Roles] = {}
        self._commands: dict[str, Callable[..., Message]] = {
            "begin": self._begin,
            "load": self._load,
            "join": self._join,
            "divide": self._divide,
            "compute": self._compute,
            "drop": self._drop,
        }

    def obey(self, message: Message) -> None:
        """Does what the worker asks, and answers. Ends this process after an error in which others wait for it."""
        values = dict(message)
        number, command = values.pop("number"), values.pop("command")
        act, stage = self._commands[command], Stage.DENOISE if command == "compute" else Stage.LOAD
        try:
            answer = run_clean(lambda: act(**values), stage=lambda: stage, device=self._device)
        except TaskFailed as failed:
            self._channel.send({"number": number, "failure": pack_failure(failed)})
            if command in ("join", "divide") or (command == "compute" and self._do_others_wait(values, failed)):
                os._exit(1)
        else:
            self._channel.send({"number": number, **answer})

    def _do_others_wait(self, values: Message, failed: TaskFailed) -> bool:
        # diffusers raises it on every rank, before one waits for another.
        is_common = failed.detail.startswith("AssertionError")
        return self._roles[values["key"]].parallelism.context > 1 and not is_common

    def _begin(self, device: str, threads: int) -> Message:
        self._device = pick_device(device)
        # As many as the worker has: sums that are divided alike are rounded alike.
        torch.set_num_threads(threads)
        return {}

    def _load(self, key: str, model: str) -> Message:
        if key not in self._pipelines:
            entry = ModelSpec.model_validate_json(model)
            assert isinstance(entry.parallelism, Parallelism)
            self._pipelines[key] = load_denoisers(entry, device=self._device)
            self._roles[key] = Roles(entry.parallelism)
        pipeline = self._pipelines[key]
        on_cpu = weight_bytes(pipeline, "cpu")
        return {"device_bytes": weight_bytes(pipeline, self._device), "host_bytes": on_cpu}

    def _join(self, rank: int, size: int, store: str, limit_s: float) -> Message:
        join_process_group(rank, size=size, device=self._device, store=store, limit_s=limit_s)
        return {}

    def _divide(self, key: str) -> Message:
        divide(denoisers_of(self._pipelines[key]), self._roles[key], device=self._device)
        return {}

    def _compute(self, key: str, denoiser: str, arguments: Message, *, is_wanted: bool) -> Message:
        module = denoisers_of(self._pipelines[key])[denoiser]
        with torch.no_grad():
            output = module(**on_device(arguments, self._device))
        return {"output": tuple(output)} if is_wanted else {}

    def _drop(self, keys: list[str]) -> Message:
        for key in keys:
            self._pipelines.pop(key, None)
            self._roles.pop(key, None)
        release_memory()
        return {}


def main() -> None:
    name_process("phoenix-rank")
    # What libraries say of their imports and of their future, the worker has said already.
    logging.basicConfig(level=logging.ERROR)
    warnings.simplefilter("ignore")
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def read() -> None:
        # In a thread of its own, so that the end of the worker is seen also while this process computes or waits.
        try:
            while True:
                messages.put(channel.receive())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=read, name="messages", daemon=True).start()
    rank = RankProcess(channel)
    while True:
        rank.obey(messages.get())


if __name__ == "__main__":
    main()
