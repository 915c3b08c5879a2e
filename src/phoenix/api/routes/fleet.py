"""The queues and the workers: as JSON for operators and dashboards, and as Prometheus metrics.

Metrics of the fleet are read from SQL, so every replica reports the same values; each replica adds its own.
"""

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request, Response
from prometheus_client import Metric

from phoenix.access.keys import Scope
from phoenix.api.dependencies import AppStateDep, CallerDep, DatabaseDep, HolderDep, ReserveDep
from phoenix.api.history.totals import show_totals
from phoenix.api.http.known_parameters import StrictRoute
from phoenix.contract import QueueDepth, QueueView, WorkerList
from phoenix.errors import Unavailable
from phoenix.jobs.history.queries import read_totals
from phoenix.jobs.metrics import FleetGauges, WorkerDeviceMemory, WorkerHostMemory, WorkerProcess, read_gauges
from phoenix.jobs.scheduling.workers import view_workers
from phoenix.storage.reserve import StorageReserve
from phoenix.telemetry.meters import CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE, OPENMETRICS_TYPE, Meters, counter, gauge

router = APIRouter(tags=["fleet"], route_class=StrictRoute)


@router.head("/v1/queue", include_in_schema=False)
@router.get("/v1/queue", response_model=QueueView)
async def get_queue(state: AppStateDep, _caller: CallerDep) -> Response:
    """Show the queues.

    How many tasks wait, run in a slot, and finish without one. How many the live workers can run at once, and how long
    the oldest has waited. The figures are up to two seconds old.
    """
    return Response(await state.services.fleet.write_depths(_write_depths), media_type="application/json")


def _write_depths(depths: QueueView) -> bytes:
    return depths.model_dump_json().encode()


@router.head("/v1/workers", include_in_schema=False)
@router.get("/v1/workers")
async def list_workers(database: DatabaseDep, caller: CallerDep) -> WorkerList:
    """List the live workers.

    With their device, its memory, the models in memory and your own jobs in progress. With the scope `operator` or
    `admin`: every job in progress, the host and process of each worker, and why it is unfit.
    """
    sees_all = caller.may(Scope.OPERATOR)
    async with database.read() as session:
        workers = await view_workers(session, owner_id=None if sees_all else caller.owner_id)
    if not sees_all:
        workers = [worker.model_copy(update={"host": None, "pid": None, "fault": None}) for worker in workers]
    return WorkerList(data=workers)


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", include_in_schema=False)
async def get_metrics(
    request: Request, state: AppStateDep, database: DatabaseDep, reserve: ReserveDep, holder: HolderDep
) -> Response:
    """Write the metrics. Requires the scope `metrics`; `phoenix_database_up` is 0 while the database is away."""
    holder.check(Scope.METRICS)
    own = [_events_delivered(state.hub.delivered_events), *_show_disks(reserve)]
    try:
        async with database.read() as session:
            found = await read_gauges(session)
        totals = await read_totals(database)
    except Unavailable:
        return _respond(request, [_database_up(is_up=False), *own])
    return _respond(request, [_database_up(is_up=True), *own, *_show(found), *show_totals(totals)])


def _respond(request: Request, metrics: list[Metric]) -> Response:
    meters: Meters = request.app.state.meters
    as_openmetrics = OPENMETRICS_TYPE in request.headers.get("accept", "")
    content_type = OPENMETRICS_CONTENT_TYPE if as_openmetrics else CONTENT_TYPE
    body = meters.write(*metrics, as_openmetrics=as_openmetrics)
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _events_delivered(count: int) -> Metric:
    description = "Events that the streams of this process have sent, counted once for each client."
    return counter("phoenix_events_delivered_total", description, values=[((), count)])


def _database_up(*, is_up: bool) -> Metric:
    return gauge("phoenix_database_up", "Whether the database answered this scrape.", values=[((), float(is_up))])


def _show_disks(reserve: StorageReserve) -> Iterator[Metric]:
    yield gauge(
        "phoenix_disk_free_bytes",
        "Free bytes on the disk of the local store and of a SQLite database.",
        "disk",
        values=[((part,), free_bytes) for part, free_bytes in reserve.free_bytes().items()],
    )
    yield gauge(
        "phoenix_disk_reserve_bytes",
        "Free bytes below which jobs and uploads are refused.",
        values=[((), reserve.reserve_bytes)],
    )


def _show(found: FleetGauges) -> Iterator[Metric]:
    yield gauge(
        "phoenix_jobs",
        "Stored jobs, by state.",
        "state",
        values=[((state,), count) for state, count in found.jobs.items()],
    )
    yield counter(
        "phoenix_jobs_ended_total",
        "Jobs that have ended, including deleted jobs, by state and error code. A retried job ends again.",
        "state",
        "code",
        values=[(ending, count) for ending, count in found.ended.items()],
    )
    yield from _show_queues(found.queues)
    yield gauge(
        "phoenix_unserved_tasks",
        "Waiting tasks that no live worker can run, by queue and model; none for tasks that need no model.",
        "queue",
        "model",
        values=[(labels, count) for labels, count in found.unserved.items()],
    )
    yield from _show_workers(found)
    yield from _show_memory(found.memory)
    yield from _show_host_memory(found.host_memory)
    yield from _show_processes(found.processes)
    yield gauge(
        "phoenix_paused",
        "1 for each queue, model and key that is paused.",
        "kind",
        "name",
        values=[(paused, 1) for paused in found.pauses],
    )
    yield gauge(
        "phoenix_webhooks_pending",
        "Webhook deliveries that wait for their first or next try.",
        values=[((), found.webhooks_pending)],
    )
    yield gauge(
        "phoenix_clip_stage_seconds_mean",
        "Mean seconds by stage, over the clips that started within the last hour and are done.",
        "stage",
        values=[((stage,), seconds) for stage, seconds in sorted(found.stage_s.items())],
    )


def _show_workers(found: FleetGauges) -> Iterator[Metric]:
    yield gauge(
        "phoenix_workers",
        "Live workers: their last heartbeat is not older than a lease.",
        "queue",
        values=[((name,), count) for name, count in found.workers.items()],
    )
    yield gauge(
        "phoenix_worker_states",
        "Workers by queue and state, with those that start or are unfit.",
        "queue",
        "state",
        values=found.worker_states.items(),
    )


def _show_queues(queues: Sequence[QueueDepth]) -> Iterator[Metric]:
    yield gauge(
        "phoenix_tasks",
        "Tasks that wait for a worker, run in a slot, or finish without one, by queue.",
        "queue",
        "state",
        values=[
            value
            for queue in queues
            for value in (
                ((queue.name, "waiting"), queue.waiting),
                ((queue.name, "running"), queue.running),
                ((queue.name, "finishing"), queue.finishing),
            )
        ],
    )
    yield gauge(
        "phoenix_queue_oldest_wait_seconds",
        "How long the oldest waiting task has waited since it became ready; 0 if none waits.",
        "queue",
        values=[((queue.name,), queue.oldest_wait_s or 0) for queue in queues],
    )
    yield gauge(
        "phoenix_queue_slots",
        "Tasks that the live workers can run at once.",
        "queue",
        values=[((queue.name,), queue.slots) for queue in queues],
    )


def _show_memory(devices: Sequence[WorkerDeviceMemory]) -> Iterator[Metric]:
    labels = [(each.worker_id, each.host, each.device) for each in devices]
    yield gauge(
        "phoenix_device_memory_used_bytes",
        "Memory in use on each live worker's device, by any process.",
        "worker",
        "host",
        "device",
        values=zip(labels, (each.used_bytes for each in devices), strict=True),
    )
    yield gauge(
        "phoenix_device_memory_total_bytes",
        "Memory of each live worker's device.",
        "worker",
        "host",
        "device",
        values=zip(labels, (each.total_bytes for each in devices), strict=True),
    )


def _show_host_memory(workers: Sequence[WorkerHostMemory]) -> Iterator[Metric]:
    labels = [(each.worker_id, each.host) for each in workers]
    yield gauge(
        "phoenix_host_memory_used_bytes",
        "Memory of the machine that the models of each live worker use.",
        "worker",
        "host",
        values=zip(labels, (each.used_bytes for each in workers), strict=True),
    )
    yield gauge(
        "phoenix_host_memory_budget_bytes",
        "Memory of the machine that the models of each live worker may use.",
        "worker",
        "host",
        values=zip(labels, (each.budget_bytes for each in workers), strict=True),
    )


def _show_processes(workers: Sequence[WorkerProcess]) -> Iterator[Metric]:
    labels = [(each.worker_id, each.host) for each in workers]
    yield gauge(
        "phoenix_worker_resident_bytes",
        "Memory of the process of each live worker.",
        "worker",
        "host",
        values=[(label, each.resident_bytes) for label, each in zip(labels, workers, strict=True)],
    )
    for name, description, values in (
        (
            "phoenix_model_loads_total",
            "Models that each live worker has loaded.",
            [worker.model_loads for worker in workers],
        ),
        (
            "phoenix_model_evictions_total",
            "Models that each live worker has removed from memory.",
            [worker.model_evictions for worker in workers],
        ),
        (
            "phoenix_memory_fallbacks_total",
            "Calls that each live worker has made again with less memory, after a shortage.",
            [worker.memory_fallbacks for worker in workers],
        ),
    ):
        yield counter(name, description, "worker", "host", values=zip(labels, values, strict=True))
