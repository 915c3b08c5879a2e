"""The open sessions of a process: how many there may be, whose key has ended, and how they end with the process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from phoenix.access import authentication, keys, open_slots
from phoenix.async_tasks import in_background
from phoenix.errors import Unavailable
from phoenix.frames.front.client_messages import OpenSession, SessionEnded, SessionOpened, SessionVideo
from phoenix.frames.front.faults import Fault, FrameError
from phoenix.frames.front.meters import FrameMeters, FrameTransport
from phoenix.frames.front.owned_videos import OwnedVideos
from phoenix.frames.front.relay import RelayLimits, SessionClient, SessionRelay
from phoenix.frames.service import FrameService
from phoenix.ids import new_frame_session_id
from phoenix.settings import FramesSettings

KEY_CHECK_S = 10.0
"""How long a session may continue after its key was revoked."""
FINISH_S = 10.0
"""How long the frames of sound that was read may take, once the server has stopped to read."""


@dataclass(frozen=True)
class OpenSubject:
    """Whose session it is, and what its sessions count together with: a key or an address."""

    caller: keys.Caller
    subject: str
    transport: FrameTransport


class OpenSessions:
    """One per process. Enter `running` while it serves."""

    def __init__(
        self,
        service: FrameService,
        videos: OwnedVideos,
        slots: open_slots.OpenSlots,
        revocations: authentication.Revocations,
        meters: FrameMeters,
        settings: FramesSettings,
    ) -> None:
        self._service = service
        self._videos = videos
        self._slots = slots
        self._revocations = revocations
        self._meters = meters
        self._settings = settings
        self._limits = RelayLimits.from_settings(settings)
        self._relays: dict[SessionRelay, keys.Caller] = {}
        self._count = 0
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self.is_draining = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["OpenSessions"]:
        """Ends sessions whose key ends, during the block."""
        async with in_background(self._check_keys_forever(), name="keys-of-frame-sessions"):
            yield self

    async def serve(self, opening: OpenSession, subject: OpenSubject, client: SessionClient) -> SessionRelay:
        """Runs a session until its last frame was sent, and returns it. Raises like `SessionRelay.run`."""
        video = self._videos.get(opening.video_id, subject.caller)
        self._check_opening(opening)
        async with self._admitted(subject):
            session = self._service.open_session(
                opening.video_id,
                sample_rate=opening.sample_rate,
                format=opening.format,
                max_buffered_s=opening.max_buffered_s,
            )
            try:
                await client.send(SessionOpened(session_id=new_frame_session_id(), video=SessionVideo.of(video)))
                relay = SessionRelay(session, client, self._limits)
                self._relays[relay] = subject.caller
                try:
                    if self.is_draining:
                        await relay.warn(self._settings.drain_grace_s)
                    await relay.run()
                finally:
                    del self._relays[relay]
            finally:
                await session.close()
            await client.send(SessionEnded(frames=relay.sent_frames))
            return relay

    def _check_opening(self, opening: OpenSession) -> None:
        if opening.max_buffered_s > self._settings.max_buffered_s:
            longest = self._settings.max_buffered_s
            raise FrameError(Fault.INVALID_REQUEST, f"/max_buffered_s: at most {longest} seconds are buffered here.")

    @asynccontextmanager
    async def _admitted(self, subject: OpenSubject) -> AsyncGenerator[None]:
        """Counts a session during the block. Raises `FrameError`, and `RateLimited` if its key has too many."""
        if self.is_draining:
            raise FrameError(Fault.DRAINING, "This server stops, and opens no more sessions. Try again elsewhere.")
        if self._count >= self._settings.max_sessions:
            detail = f"This server has {self._count} sessions open, which is its limit. Try again later."
            raise FrameError(Fault.TOO_MANY_SESSIONS, detail, retry_after_s=5)
        async with AsyncExitStack() as stack:
            self._count += 1
            self._is_empty.clear()
            stack.callback(self._leave)
            await stack.enter_async_context(self._slots.slot(subject.subject))
            stack.enter_context(self._meters.open_session(subject.transport))
            yield

    def _leave(self) -> None:
        self._count -= 1
        if not self._count:
            self._is_empty.set()

    async def drain(self) -> None:
        """Admits no more sessions, and returns when all have ended: by their clients, or after the grace."""
        self.is_draining = True
        grace_s = self._settings.drain_grace_s
        warnings = (asyncio.wait_for(relay.warn(grace_s), 1) for relay in list(self._relays))
        # A client that does not read is no reason to wait.
        await asyncio.gather(*warnings, return_exceptions=True)
        if await self._wait_until_empty(grace_s):
            return
        for relay in list(self._relays):
            relay.finish()
        if await self._wait_until_empty(FINISH_S):
            return
        for relay in list(self._relays):
            relay.fail(FrameError(Fault.DRAINING, "This server has stopped."))
        await self._wait_until_empty(1)

    async def _wait_until_empty(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_empty.wait()
        return self._is_empty.is_set()

    async def _check_keys_forever(self) -> None:
        while True:
            await asyncio.sleep(KEY_CHECK_S)
            await self.check_keys()

    async def check_keys(self) -> None:
        """Ends each session whose key was revoked or replaced."""
        used = {relay: (caller.owner_id, caller.secret_id) for relay, caller in self._relays.items()}
        if not used:
            return
        try:
            void = set(await self._revocations.find({pair for pair in used.values() if pair[1]}))
        except Unavailable:
            return
        for relay, pair in used.items():
            if pair in void:
                relay.fail(FrameError(Fault.KEY_ENDED, "The key that opened this session is not valid any more."))
