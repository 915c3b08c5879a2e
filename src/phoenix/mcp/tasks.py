"""Long work by the extension `io.modelcontextprotocol/tasks`. A task is a job, and has the id of the job."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.extension import Extension, MethodBinding
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, EmptyResult, RequestParams, Result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from phoenix.client import PhoenixClientError
from phoenix.contract import Job, JobState
from phoenix.mcp.connection import PhoenixConnection, explain
from phoenix.mcp.contents import JobSummary, job_result

TASKS = "io.modelcontextprotocol/tasks"
MAKES_A_JOB = frozenset({"create_reel", "edit_reel", "stitch_videos", "sync_lips", "retry_job", "approve_draft"})
MIN_POLL_MS, MAX_POLL_MS = 1000, 10_000
_Request = ServerRequestContext[Any, Any]
TaskStatus = Literal["working", "completed", "cancelled"]


class ProtocolTask(Result):
    """How far a task is."""

    task_id: str
    status: TaskStatus
    status_message: str
    created_at: datetime
    last_updated_at: datetime
    ttl_ms: int | None = None
    poll_interval_ms: int

    def to_wire(self) -> dict[str, Any]:
        """With `ttlMs` also while it is null, which means for ever. The SDK leaves out what is null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True) | {"ttlMs": self.ttl_ms}


class TaskHandle(ProtocolTask):
    """What a tool answers in place of its result."""

    result_type: Literal["task"] = "task"


class TaskAnswer(ProtocolTask):
    """What `tasks/get` answers. `result`: of the tool, once the task is completed."""

    result_type: Literal["complete"] = "complete"
    result: dict[str, Any] | None = None


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class TaskUpdateParams(TaskParams):
    """Answers to questions of a task. No task of Phoenix asks any."""

    input_responses: dict[str, Any]


class JobTasks(Extension):
    """Answers a tool that makes a job with a task, if the client knows tasks."""

    identifier = TASKS

    def __init__(self, connection: PhoenixConnection) -> None:
        self._connection = connection

    def methods(self) -> Sequence[MethodBinding]:
        return [
            MethodBinding("tasks/get", TaskParams, self._get),
            MethodBinding("tasks/cancel", TaskParams, self._cancel),
            MethodBinding("tasks/update", TaskUpdateParams, self._update),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: _Request, call_next: CallNext
    ) -> HandlerResult:
        answer = await call_next(ctx)
        if params.name not in MAKES_A_JOB or not knows_tasks(ctx):
            return answer
        result = CallToolResult.model_validate(answer) if isinstance(answer, dict) else answer
        if not isinstance(result, CallToolResult) or result.is_error or not result.structured_content:
            return answer
        summary = JobSummary.model_validate(result.structured_content)
        handle = TaskHandle(
            task_id=summary.job_id,
            status="working",
            status_message=summary.sentence,
            created_at=summary.created_at,
            last_updated_at=summary.created_at,
            poll_interval_ms=poll_interval_ms(summary.eta_s),
        )
        return handle.to_wire()

    async def _get(self, ctx: _Request, params: TaskParams) -> dict[str, Any]:
        try:
            async with self._connection.open(ctx) as phoenix:
                job = await phoenix.get_job(params.task_id)
                result = await job_result(self._connection, phoenix, job)
        except PhoenixClientError as error:
            raise MCPError(INVALID_PARAMS, explain(error)) from error
        summary = JobSummary.model_validate(result.structured_content)
        status = status_of(job)
        shown = TaskAnswer(
            task_id=job.id,
            status=status,
            status_message=summary.sentence,
            created_at=job.created_at,
            last_updated_at=job.finished_at or job.started_at or job.created_at,
            poll_interval_ms=poll_interval_ms(job.eta_s),
            result=result.model_dump(mode="json", by_alias=True, exclude_none=True) if status == "completed" else None,
        )
        return shown.to_wire()

    async def _cancel(self, ctx: _Request, params: TaskParams) -> EmptyResult:
        try:
            async with self._connection.open(ctx) as phoenix:
                await phoenix.cancel(params.task_id)
        except PhoenixClientError as error:
            raise MCPError(INVALID_PARAMS, explain(error)) from error
        return EmptyResult()

    async def _update(self, _ctx: _Request, _params: TaskUpdateParams) -> EmptyResult:
        return EmptyResult()


def status_of(job: Job) -> TaskStatus:
    """A job that failed is `completed`: its result is an error of the tool. `failed` is for errors of the protocol."""
    if not job.state.is_terminal:
        return "working"
    return "cancelled" if job.state is JobState.CANCELED else "completed"


def poll_interval_ms(eta_s: float | None) -> int:
    """A tenth of the time that is left, within bounds."""
    return MIN_POLL_MS * 2 if eta_s is None else round(min(max(eta_s * 100, MIN_POLL_MS), MAX_POLL_MS))


def knows_tasks(ctx: _Request) -> bool:
    """Whether the client has declared the extension. Versions of the protocol before 2026 cannot carry a task."""
    capabilities = ctx.session.client_capabilities
    extensions = capabilities.extensions if capabilities else None
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and TASKS in (extensions or {})
