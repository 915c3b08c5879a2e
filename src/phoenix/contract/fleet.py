"""Queues, workers and health as clients and operators see them."""

from typing import Literal

from pydantic import Field

from phoenix.contract.base import Timestamp, View

QueueName = Literal["gpu", "remote", "media"]
"""Clips rendered on devices here; clips that a service over the network renders; sound and joining."""


class QueueDepth(View):
    name: QueueName
    waiting: int = Field(description="Tasks that could start now.")
    running: int
    slots: int = Field(description="Tasks that the live workers can run at once.")
    oldest_wait_s: float | None = None


class QueueView(View):
    jobs_queued: int
    jobs_running: int
    queues: list[QueueDepth]


class Worker(View):
    id: str
    host: str
    pid: int
    device: str
    queues: list[QueueName]
    slots: int = Field(description="Tasks that it can run at once, over all its queues.")
    models: list[str] = Field(description="Held in memory now.")
    running: list[str] = Field(description="Ids of the jobs that it is working on.")
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    started_at: Timestamp
    seen_at: Timestamp


class WorkerList(View):
    data: list[Worker]


class Health(View):
    """`ok` comes with status 200 and `down` with 503, so that a load balancer need not read the body."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: dict[str, str] = Field(description="For each service behind this server: `ok`, or what is wrong.")
