"""The part of the client for administrators and operators: pauses, workers, shares, many jobs, the audit log."""

from urllib.parse import quote

from phoenix.client.transport import JsonObject, Params, Transport
from phoenix.contract import Pause, PauseKind, PauseList, PauseRequest, QueueName
from phoenix.contract.steering import (
    AuditPage,
    BulkRequest,
    BulkResult,
    KeyShare,
    KeyShareList,
    KeyShareRequest,
    ModelUnload,
    QueuedJobList,
    UnloadRequest,
)


class Steering:
    """Methods of `AsyncPhoenix`. Each raises `PhoenixProblem` or `PhoenixUnreachable`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def bulk(self, request: BulkRequest | JsonObject, *, owner: str | None = None) -> BulkResult:
        """Cancels, retries or deletes many jobs, or shows which match. Go on with `next_cursor` until there is none."""
        response = await self._transport.send(
            "POST", "/v1/jobs/bulk", is_idempotent=False, body=request, params=of_owner(owner)
        )
        return BulkResult.model_validate_json(response.content)

    async def list_pauses(self) -> list[Pause]:
        """Returns what is paused. Requires the scope `admin`."""
        return PauseList.model_validate_json(await self._get("/v1/pauses")).data

    async def pause(self, kind: PauseKind, name: str, *, reason: str | None = None) -> Pause:
        """Lets nothing of a queue, a model or a key start until it is resumed. Requires the scope `admin`."""
        response = await self._transport.send(
            "POST", f"{_subject_path(kind, name)}/pause", is_idempotent=True, body=PauseRequest(reason=reason)
        )
        return Pause.model_validate_json(response.content)

    async def resume(self, kind: PauseKind, name: str) -> None:
        """Ends a pause. Requires the scope `admin`."""
        await self._transport.send("POST", f"{_subject_path(kind, name)}/resume", is_idempotent=True)

    async def queued_jobs(self, queue: QueueName, *, limit: int | None = None) -> QueuedJobList:
        """Returns the jobs of a queue in the order in which they start. Requires the scope `operator` or `admin`."""
        params = None if limit is None else {"limit": limit}
        return QueuedJobList.model_validate_json(await self._get(f"/v1/queues/{queue}/jobs", params))

    async def drain_worker(self, worker_id: str) -> None:
        """Lets a worker finish what it runs and claim nothing more. Requires the scope `admin`."""
        await self._transport.send("POST", f"/v1/workers/{quote(worker_id, safe='')}/drain", is_idempotent=True)

    async def resume_worker(self, worker_id: str) -> None:
        """Lets a drained worker claim again. Requires the scope `admin`."""
        await self._transport.send("POST", f"/v1/workers/{quote(worker_id, safe='')}/resume", is_idempotent=True)

    async def unload_model(self, model_id: str, *, worker_id: str | None = None) -> ModelUnload:
        """Lets all workers, or one, drop a model from memory once no clip needs it. Requires the scope `admin`."""
        body = UnloadRequest(worker_id=worker_id)
        path = f"/v1/models/{quote(model_id, safe='')}/unload"
        response = await self._transport.send("POST", path, is_idempotent=True, body=body)
        return ModelUnload.model_validate_json(response.content)

    async def list_shares(self) -> list[KeyShare]:
        """Returns the keys with a weight or a limit of their own. Requires the scope `operator` or `admin`."""
        return KeyShareList.model_validate_json(await self._get("/v1/shares")).data

    async def set_share(self, key_id: str, share: KeyShareRequest) -> KeyShare:
        """Sets the weight and the limits of a key. Requires the scope `admin`."""
        path = f"/v1/keys/{quote(key_id, safe='')}/share"
        response = await self._transport.send("PUT", path, is_idempotent=True, body=share)
        return KeyShare.model_validate_json(response.content)

    async def remove_share(self, key_id: str) -> None:
        """Lets a key have what every key has. Requires the scope `admin`."""
        await self._transport.send("DELETE", f"/v1/keys/{quote(key_id, safe='')}/share", is_idempotent=True)

    async def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        owner: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AuditPage:
        """Returns one page of what administrators did, newest first. Requires the scope `operator` or `admin`."""
        given = {"actor": actor, "action": action, "target": target, "owner": owner, "limit": limit, "cursor": cursor}
        params: dict[str, str | int] = {name: value for name, value in given.items() if value is not None}
        return AuditPage.model_validate_json(await self._get("/v1/audit", params))

    async def _get(self, path: str, params: Params | None = None) -> bytes:
        response = await self._transport.send("GET", path, is_idempotent=True, params=params)
        return response.content


def of_owner(owner: str | None) -> Params | None:
    """The query that names the owner of a job; None for the caller."""
    return None if owner is None else {"owner": owner}


def _subject_path(kind: PauseKind, name: str) -> str:
    return f"/v1/{kind.value}s/{quote(name, safe='')}"
