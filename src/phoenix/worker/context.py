"""The resources that a worker process opens once and passes to its tasks: files, threads, retries of the database."""

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, ParamSpec, TypeVar

from phoenix import __version__
from phoenix.catalog.catalog import Catalog
from phoenix.contract import MediaInfo, ResolvedSoundtrack
from phoenix.db import Database
from phoenix.engine.registry import EngineRegistry
from phoenix.engine.slot_queue import DeviceSlots, SharedSlots
from phoenix.engine.stop_token import StopToken
from phoenix.errors import FailureCode, NewerVersionError, NotFound, Stage, TaskFailed, Unavailable
from phoenix.events.publisher import EventPublisher
from phoenix.ids import JobId, TaskId
from phoenix.jobs.execution.task_completion import AttemptOutput
from phoenix.jobs.repository import get_artifact
from phoenix.lipsync.models import TalkingEngines
from phoenix.media.credentials.signing import C2PA_PACKAGE, SigningCertificate, describe_origin, sign_video
from phoenix.media.encoders import open_tools
from phoenix.media.ffmpeg import FfmpegCallbacks, MediaTools, Progress, find_ffmpeg_version
from phoenix.media.probe import ProbeLimits
from phoenix.media.ssrf import EgressPolicy
from phoenix.services import Services
from phoenix.settings import Settings, WorkerSettings
from phoenix.storage.errors import reported_as_task_failure
from phoenix.storage.keys import OutputName, output_key
from phoenix.storage.reserve import StorageReserve
from phoenix.storage.store import ArtifactStore
from phoenix.telemetry.episodes import FailureEpisode
from phoenix.telemetry.logs import get_logger
from phoenix.worker.leases import HeldLease

_logger = get_logger(__name__)
_T = TypeVar("_T")

_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.2, 1.0


async def retry_until_available(attempt: Callable[[], Awaitable[_T]], stop: StopToken | None = None) -> _T:
    """Retries `attempt` until the database is available. Raises `RenderStopped` if `stop` is requested before that."""
    waits = FailureEpisode(_logger, "waiting for the database", "the wait for the database is over")
    while True:
        try:
            result = await attempt()
        except NewerVersionError:
            # This version will never be able to read the row.
            raise
        except Unavailable as error:
            waits.fail(error)
        else:
            waits.end()
            return result
        if stop is not None:
            stop.check()
        await asyncio.sleep(random.uniform(_SHORTEST_WAIT_S, _LONGEST_WAIT_S))


async def cancel_on_stop(work: Coroutine[Any, Any, _T], stop: StopToken) -> _T:
    """Awaits `work`. Cancels it and raises `RenderStopped` as soon as `stop` is requested."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)

    def cancel() -> None:
        loop.call_soon_threadsafe(task.cancel)

    with stop.on_stop(cancel):
        try:
            return await task
        except asyncio.CancelledError:
            stop.check()
            raise


def ffmpeg_callbacks(lease: HeldLease) -> FfmpegCallbacks:
    """Callbacks that stop ffmpeg with the attempt, and record progress of ffmpeg as progress of the attempt."""

    def follow(_: Progress) -> None:
        lease.record_progress()

    return FfmpegCallbacks(should_stop=lambda: lease.stop.reason is not None, on_progress=follow)


class Scratch:
    """The temporary folder of one worker process. Its supervisor removes the folder after a kill."""

    def __init__(self, worker_id: str) -> None:
        self.path = Path(gettempdir()) / f"phoenix-{worker_id}"

    @contextmanager
    def folder(self) -> Generator[Path]:
        """A new folder for one attempt. It is deleted with its files at the end of the block."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.path) as folder:
            yield Path(folder)

    def remove(self) -> None:
        """Removes the worker's folder, if there is one."""
        shutil.rmtree(self.path, ignore_errors=True)


_P = ParamSpec("_P")


class Threads:
    """A bounded thread pool. A call that has started cannot be cancelled; its stop token asks it to stop."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="task")

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Calls `function` in a thread of the pool. Log lines of the thread carry the ids of the task."""

        def call() -> _T:
            return context.run(function, *args, **kwargs)

        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Shuts the pool down without waiting. A thread that hangs lives until the process ends."""
        self._executor.shutdown(wait=False, cancel_futures=True)


MEDIA_TYPES = {
    OutputName.CLIP: "video/mp4",
    OutputName.OUTPUT: "video/mp4",
    OutputName.SOUNDTRACK: "audio/mp4",
    OutputName.THUMBNAIL: "image/jpeg",
    OutputName.SEGMENTS: "video/mp4",
    OutputName.NARRATION: "audio/mp4",
    OutputName.SRT: "application/x-subrip",
    OutputName.VTT: "text/vtt",
}


POSTER = MediaInfo(media="image", format="jpeg")


@dataclass(frozen=True)
class WorkerContext:
    """What every task of a worker process uses."""

    settings: Settings
    catalog: Catalog
    database: Database
    publisher: EventPublisher
    store: ArtifactStore
    reserve: StorageReserve
    tools: MediaTools
    egress: EgressPolicy
    limits: ProbeLimits
    engines: EngineRegistry
    slots: DeviceSlots
    talking: TalkingEngines
    threads: Threads
    scratch: Scratch
    certificate: SigningCertificate | None = None
    """Signs the results; None if they are not signed."""

    async def download_artifact(self, lease: HeldLease, artifact_id: str, path: Path) -> MediaInfo:
        """Copies an artifact of the job's owner to `path`. Returns its format and length. Raises `TaskFailed`."""
        owner_id = lease.claim.owner_id

        async def look_up() -> tuple[str, MediaInfo]:
            async with self.database.read() as session:
                row = await get_artifact(session, artifact_id, owner_id=owner_id)
                return row.key, MediaInfo.model_validate(row.info)

        try:
            key, info = await retry_until_available(look_up, lease.stop)
        except NotFound as error:
            detail = f"the artifact {artifact_id} no longer exists"
            raise TaskFailed(FailureCode.MEDIA_INVALID, detail, stage=Stage.FETCH) from error
        with reported_as_task_failure(Stage.FETCH):
            await cancel_on_stop(self.store.download_to(key, path), lease.stop)
        lease.record_progress()
        return info

    async def upload_result(self, lease: HeldLease, name: OutputName, path: Path, info: MediaInfo) -> AttemptOutput:
        """Stores a file under a key of this attempt. Clients see the file only when the attempt succeeds."""
        claim = lease.claim
        key = output_key(JobId(claim.job_id), TaskId(claim.task_id), claim.attempt, name)
        with reported_as_task_failure(Stage.UPLOAD):
            stored = await cancel_on_stop(self.store.put_file(key, path), lease.stop)
        lease.record_progress()
        ffmpeg = await self.threads.run(find_ffmpeg_version, self.tools.ffmpeg)
        return AttemptOutput(
            made_with={"phoenix": __version__} | ({"ffmpeg": ffmpeg} if ffmpeg else {}),
            key=key,
            media_type=MEDIA_TYPES[name],
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            info=info,
        )

    async def sign_result(self, lease: HeldLease, output: Path) -> dict[str, str]:
        """Signs the result where the operator has a certificate. Returns the version of the package that did."""
        request = lease.claim.request
        if self.certificate is None or isinstance(request, ResolvedSoundtrack):
            return {}
        signed = output.with_name("signed.mp4")
        version = await self.threads.run(sign_video, output, signed, describe_origin(request), self.certificate)
        signed.replace(output)
        lease.record_progress()
        return {C2PA_PACKAGE: version}

    def close(self, *, is_idle: bool) -> None:
        """Releases threads and files, and the models too if no render is running (`is_idle`)."""
        self.threads.close()
        self.scratch.remove()
        if is_idle:
            self.engines.close()


def open_worker_context(
    services: Services,
    *,
    device: str,
    other_devices: Sequence[str] = (),
    worker_id: str,
    most_tasks: int,
    certificate: SigningCertificate | None = None,
) -> WorkerContext:
    """Opens the context of a worker process. Loads no model and does not import torch.

    `other_devices`: further devices, with which a model that asks for several is rendered.

    Raises `FfmpegMissing` or `EncoderUnusable`.
    """
    settings = services.settings
    slots = open_slots(settings.worker, "+".join((device, *other_devices)))
    return WorkerContext(
        settings=settings,
        catalog=services.catalog,
        database=services.database,
        publisher=services.publisher,
        store=services.store,
        reserve=services.reserve,
        tools=open_tools(settings.media, device=device),
        egress=EgressPolicy.from_settings(settings.media),
        limits=ProbeLimits.from_settings(settings),
        engines=_open_engines(settings, device, other_devices, slots),
        slots=slots,
        talking=TalkingEngines(device=device, detector=settings.lipsync.face_detector),
        threads=Threads(most_tasks),
        scratch=Scratch(worker_id),
        certificate=certificate,
    )


def _open_engines(settings: Settings, device: str, other_devices: Sequence[str], slots: DeviceSlots) -> EngineRegistry:
    return EngineRegistry(
        engine=settings.engine,
        animatic=settings.animatic,
        veo=settings.veo,
        device=device,
        other_devices=other_devices,
        slots=slots,
        operations_dir=settings.data_dir / "veo-operations",
        peak_memory_file=settings.data_dir / "memory-peaks.json",
    )


def open_slots(settings: WorkerSettings, device: str) -> DeviceSlots:
    """The device slots of the process. With `slots_dir` set, all processes on the same device share them."""
    count, shared = settings.max_concurrent_generations, None
    if settings.slots_dir is not None:
        shared = SharedSlots(settings.slots_dir, device, count=count)
    return DeviceSlots(count, wait_limit_s=settings.slot_timeout_s, shared=shared)
