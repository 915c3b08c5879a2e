"""The client for asyncio and trio. It has one method per route, with the types of the contract."""

import mimetypes
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote
from uuid import uuid4

from phoenix.client.downloading import Expected, download
from phoenix.client.errors import JobUnsuccessful, NoOutput
from phoenix.client.steering import Steering, of_owner
from phoenix.client.storyboards import OnText, storyboard_path, write_storyboard
from phoenix.client.transport import JsonObject, RetryPolicy, Transport
from phoenix.client.watching import Event, JobFollower
from phoenix.contract import (
    Artifact,
    ArtifactKind,
    ArtifactPage,
    EditRequest,
    Estimate,
    Health,
    Job,
    JobChanges,
    JobKind,
    JobManifest,
    JobOptions,
    JobPage,
    JobState,
    LipsyncRequest,
    MediaKind,
    MediaUrls,
    Model,
    ModelList,
    QueueView,
    ReelRequest,
    ReplayRequest,
    SoundtrackJobRequest,
    StitchRequest,
    StorageUsage,
    Storyboard,
    StoryboardMessageRequest,
    StoryboardPage,
    StoryboardRequest,
    Worker,
    WorkerList,
)
from phoenix.contract.history import JobLog, Stats, StatsBy, StatsStep, TaskAttempt, TaskAttemptList, Usage


class AsyncPhoenix(Steering):
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
        super().__init__(Transport(base_url, api_key, retry_policy or RetryPolicy()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def run(
        self,
        reel: str | Sequence[str] | ReelRequest | JsonObject,
        *,
        on_event: Callable[[Event], None] | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Renders a reel and returns its job, which has the result. A text is one clip, a list of texts are several.

        `on_event` gets each event of the job. Raises `JobUnsuccessful` for a job that ends without a result.
        """
        if isinstance(reel, str):
            reel = [reel]
        request = reel if isinstance(reel, ReelRequest | Mapping) else {"clips": [{"prompt": text} for text in reel]}
        job = await self.submit_reel(request, idempotency_key=idempotency_key)
        async with aclosing(self.watch(job.id)) as events:
            async for event in events:
                if on_event is not None:
                    on_event(event)
        job = await self.get_job(job.id)
        if job.state is not JobState.SUCCEEDED:
            raise JobUnsuccessful(job)
        return job

    async def submit_reel(self, request: ReelRequest | JsonObject, *, idempotency_key: str | None = None) -> Job:
        """Submits a reel. Returns the queued job, or the earlier job with the same `idempotency_key`.

        A JSON object in place of a `ReelRequest` is checked by the server alone, which names all of its errors.
        """
        return await self._submit("/v1/reels", request, idempotency_key)

    async def estimate_reel(self, request: ReelRequest | JsonObject) -> Estimate:
        """Returns what a reel would take and cost. Submits nothing, and is refused where `submit_reel` would be."""
        response = await self._transport.send("POST", "/v1/estimates", is_idempotent=True, body=request)
        return Estimate.model_validate_json(response.content)

    async def submit_stitch(self, request: StitchRequest | JsonObject, *, idempotency_key: str | None = None) -> Job:
        """Submits a job that joins uploaded or rendered videos. Returns it like `submit_reel`."""
        return await self._submit("/v1/stitches", request, idempotency_key)

    async def submit_soundtrack(self, request: SoundtrackJobRequest, *, idempotency_key: str | None = None) -> Job:
        """Submits a job that prepares a soundtrack. Returns it like `submit_reel`."""
        return await self._submit("/v1/soundtracks", request, idempotency_key)

    async def submit_lipsync(self, request: LipsyncRequest | JsonObject, *, idempotency_key: str | None = None) -> Job:
        """Submits a job that makes a face say a sound. Returns it like `submit_reel`."""
        return await self._submit("/v1/lipsyncs", request, idempotency_key)

    async def edit(self, job_id: str, request: EditRequest | JsonObject, *, idempotency_key: str | None = None) -> Job:
        """Submits changes of a reel that has ended. Returns the new job like `submit_reel`."""
        return await self._submit(_job_path(job_id, "/edits"), request, idempotency_key)

    async def create_storyboard(
        self,
        request: StoryboardRequest | JsonObject,
        *,
        idempotency_key: str | None = None,
        on_text: OnText | None = None,
    ) -> Storyboard:
        """Has a reel written from an idea. Returns the storyboard, whose `state` says whether it could be written.

        `on_text` gets each part of the text of a language model as it arrives.
        """
        return await write_storyboard(
            self._transport, "/v1/storyboards", request, idempotency_key=idempotency_key, on_text=on_text
        )

    async def refine_storyboard(
        self, storyboard_id: str, text: str, *, idempotency_key: str | None = None, on_text: OnText | None = None
    ) -> Storyboard:
        """Has a storyboard written again with a wish. Returns it like `create_storyboard`."""
        path, body = storyboard_path(storyboard_id, "/messages"), StoryboardMessageRequest(text=text)
        return await write_storyboard(self._transport, path, body, idempotency_key=idempotency_key, on_text=on_text)

    async def retry_storyboard(self, storyboard_id: str, *, on_text: OnText | None = None) -> Storyboard:
        """Tries a failed storyboard again. Returns it like `create_storyboard`."""
        path = storyboard_path(storyboard_id, "/retry")
        return await write_storyboard(self._transport, path, None, idempotency_key=None, on_text=on_text)

    async def get_storyboard(self, storyboard_id: str) -> Storyboard:
        """Returns the storyboard as it is now."""
        return Storyboard.model_validate_json(await self._get(storyboard_path(storyboard_id)))

    async def list_storyboards(self, *, limit: int | None = None, cursor: str | None = None) -> StoryboardPage:
        """Returns one page of storyboards, newest first. Its `next_cursor` is the `cursor` of the next page."""
        given = {"limit": limit, "cursor": cursor}
        params: dict[str, str | int] = {name: value for name, value in given.items() if value is not None}
        return StoryboardPage.model_validate_json(await self._get("/v1/storyboards", params))

    async def delete_storyboard(self, storyboard_id: str) -> None:
        """Deletes a storyboard. Jobs that were made from it stay."""
        await self._transport.send("DELETE", storyboard_path(storyboard_id), is_idempotent=False)

    async def get_job(self, job_id: str, *, owner: str | None = None) -> Job:
        """Returns the job in its current state. `owner`: as for `list_jobs`, here and in the other methods."""
        return Job.model_validate_json(await self._get(_job_path(job_id), of_owner(owner)))

    async def list_jobs(  # noqa: PLR0913 - one parameter per query parameter
        self,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        model: str | None = None,
        q: str | None = None,
        tags: Sequence[str] = (),
        favorite: bool | None = None,
        metadata: Mapping[str, str] | None = None,
        mode: Literal["words", "meaning"] | None = None,
        similar_to: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        owner: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> JobPage:
        """Returns one page of jobs, newest first. Its `next_cursor` is the `cursor` of the next page.

        `q`: words of the title, the tags, the prompts and the metadata; jobs with the words in their title come first.
        `tags`: all of which a job has. `metadata`: values by key. `mode="meaning"`: also jobs that are about `q` in
        other words. `similar_to`: id of a job, in place of `q`. `limit`: the most jobs of the page. `owner`: the id
        of another key, or `all`; requires the scope `operator`, and `admin` for changes.
        """
        given = {"state": state, "kind": kind, "model": model, "q": q, "limit": limit, "cursor": cursor, "owner": owner}
        given |= {"mode": mode, "similar_to": similar_to}
        times = {"created_after": created_after, "created_before": created_before}
        params: dict[str, str | int | list[str]] = {name: value for name, value in given.items() if value is not None}
        params |= {name: at.isoformat() for name, at in times.items() if at is not None}
        params |= {f"metadata.{key}": value for key, value in (metadata or {}).items()} | (
            {"tag": [*tags]} if tags else {}
        )
        if favorite is not None:
            params["favorite"] = str(favorite).lower()
        response = await self._get("/v1/jobs", params)
        return JobPage.model_validate_json(response)

    async def change(self, job_id: str, changes: JobChanges | JsonObject, *, owner: str | None = None) -> Job:
        """Changes the title, the tags, the metadata, or how a queued job waits. Returns the changed job."""
        response = await self._transport.send(
            "PATCH", _job_path(job_id), is_idempotent=True, body=changes, params=of_owner(owner)
        )
        return Job.model_validate_json(response.content)

    async def manifest(self, job_id: str) -> JobManifest:
        """Returns what the result of a job was made of, and with what."""
        return JobManifest.model_validate_json(await self._get(_job_path(job_id, "/manifest")))

    async def attempts(self, job_id: str) -> list[TaskAttempt]:
        """Returns every attempt at every part of a job, the oldest first."""
        return TaskAttemptList.model_validate_json(await self._get(_job_path(job_id, "/attempts"))).data

    async def log(self, job_id: str, *, limit: int | None = None) -> JobLog:
        """Returns the newest lines of the log of a job; lines of workers require the scope `operator`."""
        params = {} if limit is None else {"limit": limit}
        return JobLog.model_validate_json(await self._get(_job_path(job_id, "/logs"), params))

    async def submit_replay(self, replay: ReplayRequest) -> Job:
        """Submits the request of a manifest as a new job. Returns it like `submit_reel`."""
        return await self._submit(replay.path, replay.body, None)

    async def cancel(self, job_id: str, *, owner: str | None = None) -> Job:
        """Requests cancellation. A running job ends within about one step; an ended job stays unchanged."""
        path = _job_path(job_id, "/cancel")
        response = await self._transport.send("POST", path, is_idempotent=True, params=of_owner(owner))
        return Job.model_validate_json(response.content)

    async def approve(self, job_id: str, *, owner: str | None = None) -> Job:
        """Approves the draft of a held job, which is queued then. An approved job stays unchanged."""
        path = _job_path(job_id, "/approve")
        response = await self._transport.send("POST", path, is_idempotent=True, params=of_owner(owner))
        return Job.model_validate_json(response.content)

    async def retry(self, job_id: str, *, owner: str | None = None) -> Job:
        """Queues an unsuccessful job again. Finished clips are kept."""
        path = _job_path(job_id, "/retry")
        response = await self._transport.send("POST", path, is_idempotent=False, params=of_owner(owner))
        return Job.model_validate_json(response.content)

    async def delete(self, job_id: str, *, owner: str | None = None) -> None:
        """Deletes an ended job and its files."""
        await self._transport.send("DELETE", _job_path(job_id), is_idempotent=False, params=of_owner(owner))

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
        """Returns one page of uploads and files of jobs, newest first. `q`: words of the file's name, or of its job."""
        given = {"kind": kind, "media": media, "q": q, "limit": limit, "cursor": cursor}
        params: dict[str, str | int] = {name: value for name, value in given.items() if value is not None}
        return ArtifactPage.model_validate_json(await self._get("/v1/artifacts", params))

    async def storage(self) -> StorageUsage:
        """Returns what the files of the key take, by kind."""
        return StorageUsage.model_validate_json(await self._get("/v1/storage"))

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

    async def media_urls(self, job_id: str) -> MediaUrls:
        """Returns URLs of the media of a job that work without a key, for players. They expire."""
        response = await self._transport.send("POST", _job_path(job_id, "/media-tokens"), is_idempotent=True)
        return MediaUrls.model_validate_json(response.content)

    def watch(self, job_id: str, *, owner: str | None = None) -> AsyncGenerator[Event]:
        """Yields a snapshot of the job, then its events until the job ends. Reconnects as needed.

        Durable events arrive exactly once and without a gap. Close the generator (`contextlib.aclosing`) to stop early.
        """
        return JobFollower(self._transport, job_id, owner=owner).events()

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

    async def stats(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        step: StatsStep | None = None,
        by: StatsBy | None = None,
    ) -> Stats:
        """Returns statistics of the last day, or of the window from `start` to `end`. Requires the scope `operator`."""
        given = {"from": start and start.isoformat(), "to": end and end.isoformat(), "step": step, "by": by}
        params = {name: value for name, value in given.items() if value is not None}
        return Stats.model_validate_json(await self._get("/v1/stats", params))

    async def usage(
        self, *, start: datetime | None = None, end: datetime | None = None, owner: str | None = None
    ) -> Usage:
        """Returns what the key has used in the last 30 days, or in the window. Another `owner` requires `operator`."""
        given = {"from": start and start.isoformat(), "to": end and end.isoformat(), "owner": owner}
        params = {name: value for name, value in given.items() if value is not None}
        return Usage.model_validate_json(await self._get("/v1/usage", params))

    async def health(self) -> Health:
        """Returns `ok` or `degraded`. Raises `PhoenixProblem` if the server is down."""
        return Health.model_validate_json(await self._get("/health"))

    async def _submit(self, path: str, request: JobOptions | JsonObject, idempotency_key: str | None) -> Job:
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        response = await self._transport.send("POST", path, is_idempotent=True, body=request, headers=headers)
        return Job.model_validate_json(response.content)


def _job_path(job_id: str, rest: str = "") -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}{rest}"
