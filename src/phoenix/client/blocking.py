"""The client for code without an event loop. It runs the asynchronous client in a separate thread."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, Self, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from phoenix.client.asynchronous import AsyncPhoenix
from phoenix.client.transport import RetryPolicy
from phoenix.client.watching import Event

P = ParamSpec("P")
R = TypeVar("R")


class _Blocking(Generic[P, R]):
    """Turns a method of `AsyncPhoenix` into a blocking method."""

    def __init__(self, method: Callable[Concatenate[AsyncPhoenix, P], Awaitable[R]]) -> None:
        self._method = method

    def __get__(self, phoenix: "Phoenix", owner: type["Phoenix"]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return phoenix.call(lambda: self._method(phoenix.asynchronous, *args, **kwargs))

        return call


class Phoenix:
    """The blocking form of `AsyncPhoenix`: the same methods, arguments and errors.

    Close the client, or use it in a `with` statement.
    """

    run = _Blocking(AsyncPhoenix.run)
    submit_reel = _Blocking(AsyncPhoenix.submit_reel)
    estimate_reel = _Blocking(AsyncPhoenix.estimate_reel)
    submit_stitch = _Blocking(AsyncPhoenix.submit_stitch)
    submit_soundtrack = _Blocking(AsyncPhoenix.submit_soundtrack)
    submit_lipsync = _Blocking(AsyncPhoenix.submit_lipsync)
    edit = _Blocking(AsyncPhoenix.edit)
    create_storyboard = _Blocking(AsyncPhoenix.create_storyboard)
    refine_storyboard = _Blocking(AsyncPhoenix.refine_storyboard)
    retry_storyboard = _Blocking(AsyncPhoenix.retry_storyboard)
    get_storyboard = _Blocking(AsyncPhoenix.get_storyboard)
    list_storyboards = _Blocking(AsyncPhoenix.list_storyboards)
    delete_storyboard = _Blocking(AsyncPhoenix.delete_storyboard)
    get_job = _Blocking(AsyncPhoenix.get_job)
    list_jobs = _Blocking(AsyncPhoenix.list_jobs)
    change = _Blocking(AsyncPhoenix.change)
    approve = _Blocking(AsyncPhoenix.approve)
    manifest = _Blocking(AsyncPhoenix.manifest)
    attempts = _Blocking(AsyncPhoenix.attempts)
    log = _Blocking(AsyncPhoenix.log)
    submit_replay = _Blocking(AsyncPhoenix.submit_replay)
    cancel = _Blocking(AsyncPhoenix.cancel)
    retry = _Blocking(AsyncPhoenix.retry)
    delete = _Blocking(AsyncPhoenix.delete)
    upload = _Blocking(AsyncPhoenix.upload)
    list_artifacts = _Blocking(AsyncPhoenix.list_artifacts)
    storage = _Blocking(AsyncPhoenix.storage)
    delete_artifact = _Blocking(AsyncPhoenix.delete_artifact)
    download = _Blocking(AsyncPhoenix.download)
    media_urls = _Blocking(AsyncPhoenix.media_urls)
    models = _Blocking(AsyncPhoenix.models)
    model_list = _Blocking(AsyncPhoenix.model_list)
    queue = _Blocking(AsyncPhoenix.queue)
    list_pauses = _Blocking(AsyncPhoenix.list_pauses)
    pause = _Blocking(AsyncPhoenix.pause)
    resume = _Blocking(AsyncPhoenix.resume)
    queued_jobs = _Blocking(AsyncPhoenix.queued_jobs)
    workers = _Blocking(AsyncPhoenix.workers)
    drain_worker = _Blocking(AsyncPhoenix.drain_worker)
    resume_worker = _Blocking(AsyncPhoenix.resume_worker)
    unload_model = _Blocking(AsyncPhoenix.unload_model)
    bulk = _Blocking(AsyncPhoenix.bulk)
    audit = _Blocking(AsyncPhoenix.audit)
    stats = _Blocking(AsyncPhoenix.stats)
    usage = _Blocking(AsyncPhoenix.usage)
    list_shares = _Blocking(AsyncPhoenix.list_shares)
    set_share = _Blocking(AsyncPhoenix.set_share)
    remove_share = _Blocking(AsyncPhoenix.remove_share)
    health = _Blocking(AsyncPhoenix.health)

    def __init__(self, base_url: str, api_key: str | None = None, *, retry_policy: RetryPolicy | None = None) -> None:
        self._open = ExitStack()
        self._portal = self._open.enter_context(start_blocking_portal())
        self.asynchronous = AsyncPhoenix(base_url, api_key, retry_policy=retry_policy)
        self._open.enter_context(self._portal.wrap_async_context_manager(self.asynchronous))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and ends the thread of the client."""
        self._open.close()

    def watch(self, job_id: str, *, owner: str | None = None) -> Generator[Event]:
        """Yields the events of `AsyncPhoenix.watch`. Closing the generator closes the connection."""
        events = _SteppedEvents(self.asynchronous.watch(job_id, owner=owner))
        try:
            while (event := self.call(events.find_next)) is not None:
                yield event
        finally:
            self.call(events.close)

    def call(self, function: Callable[[], Awaitable[R]]) -> R:
        """Runs `function` in the thread of the client. Returns its result or raises its error."""
        future = self._portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C interrupts only this thread. The thread of the client would go on with the request.
            future.cancel()
            raise


class _SteppedEvents:
    """Steps an asynchronous generator. Each step is a separate task, and steps never overlap."""

    def __init__(self, events: AsyncGenerator[Event]) -> None:
        self._events = events
        self._stepping = anyio.Lock()

    async def find_next(self) -> Event | None:
        async with self._stepping:
            return await anext(self._events, None)

    async def close(self) -> None:
        # After Ctrl-C a step may still be unwinding, and a running generator cannot be closed.
        async with self._stepping:
            await self._events.aclose()
