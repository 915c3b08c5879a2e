"""The client for asyncio and trio. It has one method per route, with the types of the contract."""

import mimetypes
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote
from uuid import uuid4

from phoenix.client.downloading import Expected, download
from phoenix.client.errors import NoOutput
from phoenix.client.transport import JsonObject, Params, RetryPolicy, Transport
from phoenix.client.watching import Event, JobFollower
from phoenix.contract import (
    Artifact,
    ArtifactKind,
    ArtifactPage,
    EditRequest,
    Health,
    Job,
    JobKind,
    JobManifest,
    JobOptions,
    JobPage,
    JobState,
    MediaKind,
    Model,
    ModelList,
    QueueView,
    ReelRequest,
    ReplayRequest,
    SoundtrackJobRequest,
    StitchRequest,
    Worker,
    WorkerList,
)


class AsyncPhoenix:
    """A client of one Phoenix server. Every method raises `PhoenixProblem` or `PhoenixUnreachable`.

    A temporary refusal (429, 503) is retried after the Retry-After of the server. A broken connection is retried where
    this is safe: for reads, cancels, and submits, which carry an Idempotency-Key.

        async with AsyncPhoenix("http://127.0.0.1:8080") as phoenix:
            job = await phoenix.submit_reel(ReelRequest(clips=[ClipRequest(prompt="a red balloon")]))
            async for event in phoenix.watch(job.id):
                print(event.type)
            await phoenix.download(job.id, Path("reel.mp4"))
    """

    def __init__(self, base_url: str, api_key: str | None = None, *, retry_policy: RetryPolicy | None = None) -> None:
        self._transport = Transport(base_url, api_key, retry_policy or RetryPolicy())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def submit_reel(self, request: ReelRequest | JsonObject, *, idempotency_key: str | None = None) -> Job:
        """Submits a reel. Returns the queued job, or the earlier job with the same `idempotency_key`.

        A JSON object in place of a `ReelRequest` is checked by the server alone, which names all of its errors.
        """
        return await self._submit("/v1/reels", request, idempotency_key)

    async def submit_stitch(self, request: StitchRequest, *, idempotency_key: str | None = None) -> Job:
        """Submits a job that joins uploaded or rendered videos. Returns it like `submit_reel`."""
        return await self._submit("/v1/stitches", request, idempotency_key)

    async def submit_soundtrack(self, request: SoundtrackJobRequest, *, idempotency_key: str | None = None) -> Job:
        """Submits a job that prepares a soundtrack. Returns it like `submit_reel`."""
        return await self._submit("/v1/soundtracks", request, idempotency_key)

    async def edit(self, job_id: str, request: EditRequest | JsonObject, *, idempotency_key: str | None = None) -> Job:
        """Submits changes of a reel that has ended. Returns the new job like `submit_reel`."""
        return await self._submit(_job_path(job_id, "/edits"), request, idempotency_key)

    async def get_job(self, job_id: str) -> Job:
        """Returns the job in its current state."""
        response = await self._transport.send("GET", _job_path(job_id), is_idempotent=True)
        return Job.model_validate_json(response.content)

    async def list_jobs(
        self,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        model: str | None = None,
        q: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> JobPage:
        """Returns one page of jobs, newest first. Its `next_cursor` is the `cursor` of the next page.

        `q`: words that the prompts contain. `limit`: the most jobs of the page.
        """
        given = {"state": state, "kind": kind, "model": model, "q": q, "limit": limit, "cursor": cursor}
        times = {"created_after": created_after, "created_before": created_before}
        params: dict[str, str | int] = {name: value for name, value in given.items() if value is not None}
        params |= {name: at.isoformat() for name, at in times.items() if at is not None}
        response = await self._get("/v1/jobs", params)
        return JobPage.model_validate_json(response)

    async def manifest(self, job_id: str) -> JobManifest:
        """Returns what the result of a job was made of, and with what."""
        return JobManifest.model_validate_json(await self._get(_job_path(job_id, "/manifest")))

    async def submit_replay(self, replay: ReplayRequest) -> Job:
        """Submits the request of a manifest as a new job. Returns it like `submit_reel`."""
        return await self._submit(replay.path, replay.body, None)

    async def cancel(self, job_id: str) -> Job:
        """Requests cancellation. A running job ends within about one step; an ended job stays unchanged."""
        response = await self._transport.send("POST", _job_path(job_id, "/cancel"), is_idempotent=True)
        return Job.model_validate_json(response.content)

    async def approve(self, job_id: str) -> Job:
        """Approves the draft of a held job, which is queued then. An approved job stays unchanged."""
        response = await self._transport.send("POST", _job_path(job_id, "/approve"), is_idempotent=True)
        return Job.model_validate_json(response.content)

    async def retry(self, job_id: str) -> Job:
        """Queues an unsuccessful job again. Finished clips are kept."""
        response = await self._transport.send("POST", _job_path(job_id, "/retry"), is_idempotent=False)
        return Job.model_validate_json(response.content)

    async def delete(self, job_id: str) -> None:
        """Deletes an ended job and its files."""
        await self._transport.send("DELETE", _job_path(job_id), is_idempotent=False)

    async def upload(self, path: Path) -> Artifact:
        """Uploads a sound, image or video file. Requests refer to the artifact by its `id`. Also raises `OSError`."""
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        with path.open("rb") as file:
            response = await self._transport.send(
                "POST", "/v1/uploads", is_idempotent=False, upload=(path.name, file, media_type)
            )
        return Artifact.model_validate_json(response.content)

    async def list_artifacts(
        self,
        *,
        kind: ArtifactKind | None = None,
        media: MediaKind | None = None,
        q: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ArtifactPage:
        """Returns one page of uploads and files of jobs, newest first. `q`: words in the name of the uploaded file."""
        given = {"kind": kind, "media": media, "q": q, "limit": limit, "cursor": cursor}
        params: dict[str, str | int] = {name: value for name, value in given.items() if value is not None}
        return ArtifactPage.model_validate_json(await self._get("/v1/artifacts", params))

    async def delete_artifact(self, artifact_id: str) -> None:
        """Deletes an upload. Refused while an unfinished job needs it, and for a file that a job has made."""
        path = f"/v1/artifacts/{quote(artifact_id, safe='')}"
        await self._transport.send("DELETE", path, is_idempotent=False)

    async def download(self, job: Job | str, path: Path) -> Path:
        """Writes the result of a job to `path`, complete and verified, or writes nothing. Returns `path`.

        Also raises `NoOutput` for a job without a result, `DownloadCorrupted` and `OSError`.
        """
        found = await self.get_job(job) if isinstance(job, str) else job
        if found.output is None:
            raise NoOutput(f"{found.id} is {found.state.value} and has no output")
        expected = Expected(size_bytes=found.output.size_bytes, sha256=found.output.sha256)
        await download(self._transport, _job_path(found.id, "/content"), path, expected)
        return path

    def watch(self, job_id: str) -> AsyncGenerator[Event]:
        """Yields a snapshot of the job, then its events until the job ends. Reconnects as needed.

        Durable events arrive exactly once and without a gap. Close the generator (`contextlib.aclosing`) to stop early.
        """
        return JobFollower(self._transport, job_id).events()

    async def models(self) -> list[Model]:
        """Returns the models, with their limits and defaults."""
        return (await self.model_list()).data

    async def model_list(self) -> ModelList:
        """Returns the models together with the upscalers and interpolators, which are for the clips of every model."""
        return ModelList.model_validate_json(await self._get("/v1/models"))

    async def queue(self) -> QueueView:
        """Returns the length of each queue and the slots of its workers."""
        return QueueView.model_validate_json(await self._get("/v1/queue"))

    async def workers(self) -> list[Worker]:
        """Returns the live workers."""
        return WorkerList.model_validate_json(await self._get("/v1/workers")).data

    async def health(self) -> Health:
        """Returns `ok` or `degraded`. Raises `PhoenixProblem` if the server is down."""
        return Health.model_validate_json(await self._get("/health"))

    async def _get(self, path: str, params: Params | None = None) -> bytes:
        response = await self._transport.send("GET", path, is_idempotent=True, params=params)
        return response.content

    async def _submit(self, path: str, request: JobOptions | JsonObject, idempotency_key: str | None) -> Job:
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        response = await self._transport.send("POST", path, is_idempotent=True, body=request, headers=headers)
        return Job.model_validate_json(response.content)


def _job_path(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{rest}"
