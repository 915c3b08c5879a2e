"""Queues, workers, keys and the health of the server, as clients and operators see them."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from phoenix.contract.wire_types import Request, Text, Timestamp, View

QueueName = Literal["gpu", "remote", "media"]
"""`gpu`: clips rendered on devices here. `remote`: clips that a service over the network renders. `media`: soundtracks
and assembly."""


class PauseKind(StrEnum):
    """What is paused: all tasks of a queue, the clips of a model, or all that a key has made."""

    QUEUE = "queue"
    MODEL = "model"
    KEY = "key"


class PauseRequest(Request):
    """Why nothing may start."""

    reason: Text | None = Field(
        default=None, max_length=200, description="Shown with each job that waits for the pause to end."
    )


class Pause(View):
    """A queue, model or key of which nothing starts until it is resumed. What runs already ends as usual."""

    kind: PauseKind
    name: str = Field(description="The name of the queue, or the id of the model or the key.")
    reason: str | None = None
    paused_at: Timestamp
    paused_by: str = Field(description="Id of the key that paused it; `anonymous` on a server without keys.")


class PauseList(View):
    """What is paused, the oldest pause first."""

    data: list[Pause]


class QueueDepth(View):
    """The tasks of one queue, and the capacity for them."""

    name: QueueName
    waiting: int = Field(description="Tasks that could start now.")
    running: int = Field(description="Tasks that occupy a slot.")
    finishing: int = Field(
        default=0, description="Clips that are encoded and stored after they gave their slot back. They need no slot."
    )
    slots: int = Field(description="Tasks that the live workers can run at once.")
    oldest_wait_s: float | None = Field(
        default=None,
        description="Seconds that the oldest waiting task has waited since it became ready; null if no task waits.",
    )


class QueueView(View):
    """The jobs of all owners, and the tasks of each queue."""

    jobs_queued: int
    jobs_running: int
    queues: list[QueueDepth]


WorkerState = Literal["starting", "idle", "busy", "draining", "drained", "unfit"]


class Worker(View):
    """A live worker process, or an unfit worker that ended a moment ago."""

    id: str
    host: str | None = Field(default=None, description="Null without the scope `operator` or `admin`.")
    pid: int | None = Field(default=None, description="Null without the scope `operator` or `admin`.")
    device: str
    state: WorkerState = Field(
        default="idle",
        description="`starting`: it tests ffmpeg and its device, and warms models up. `draining`: it finishes what it "
        "runs, and claims nothing. `drained`: nothing is left. `unfit`: it cannot work, see `fault`.",
    )
    fault: str | None = Field(
        default=None,
        description="Why an `unfit` worker cannot work: it cannot start, its device broke, or its disk is full. Null "
        "without the scope `operator` or `admin`.",
    )
    queues: list[QueueName]
    slots: int = Field(
        description="Tasks that the worker can run at once, over all of its queues; 0 while it claims nothing."
    )
    models: list[str] = Field(description="Ids of the models in memory now.")
    unloading: list[str] = Field(
        default_factory=list[str], description="Ids of the models that it drops from memory once no clip needs them."
    )
    running: list[str] = Field(description="Ids of the jobs whose tasks occupy its slots.")
    finishing: list[str] = Field(
        default_factory=list[str], description="Ids of the jobs whose clips it encodes and stores without a slot."
    )
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    host_memory_used_bytes: int | None = Field(
        default=None, description="What its models use of the machine's memory; null before the first model."
    )
    host_memory_budget_bytes: int | None = Field(default=None, description="What its models may use of it.")
    started_at: Timestamp
    seen_at: Timestamp = Field(description="Time of the last heartbeat, in UTC.")


class WorkerList(View):
    """The live workers."""

    data: list[Worker]


class ApiKey(View):
    """The key of the request, what it may do, and what it stores. The secret is not shown."""

    id: str = Field(
        description="Owns what the key makes. `anonymous` on a server without keys.", examples=["0f1e2d3c4b5a"]
    )
    scopes: list[str] = Field(examples=[["read", "write"]])
    expires_at: Timestamp | None = Field(default=None, description="The key is refused from then on; null if never.")
    stored_bytes: int = Field(description="Bytes of all its files: uploads, and what its jobs have made.")
    max_stored_bytes: int | None = Field(
        default=None, description="At this size uploads and new jobs are refused; null if there is no limit."
    )


class Health(View):
    """The state of a server. `ok` has status 200 and `down` has 503, so that a load balancer need not read the body."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: dict[str, str] = Field(description="For each service behind this server: `ok`, or what is wrong.")
