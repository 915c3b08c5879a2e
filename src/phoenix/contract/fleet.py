"""Queues, workers and health as clients and operators see them."""

from typing import Literal

from pydantic import Field

from phoenix.contract.base import Timestamp, View

QueueName = Literal["gpu", "media"]


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
    slots: int
    models: list[str] = Field(description="Held in memory now.")
    running: list[str] = Field(description="Ids of the jobs that it works for.")
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    started_at: Timestamp
    seen_at: Timestamp


class WorkerList(View):
    data: list[Worker]


class Health(View):
    """`ok` answers 200 and `down` 503, so that a balancer needs no body."""

    status: Literal["ok", "degraded", "down"]
    version: str
    checks: dict[str, str] = Field(description="`ok`, or what is wrong, for each thing behind this server.")
