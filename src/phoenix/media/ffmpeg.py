"""Finds ffmpeg, and runs one command in the calling thread: writes its input, reports progress, and stops it."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import IO

from phoenix.child_processes import ResourceLimits, tied
from phoenix.clock import in_seconds
from phoenix.errors import FailureCode, PhoenixError, Stage, TaskFailed, install_extra
from phoenix.media.commands.h264 import Encoding
from phoenix.media.errors import MediaStopped, explain_exit
from phoenix.settings import MediaSettings

Buffer = bytes | bytearray | memoryview

NICENESS = 5
_POLL_S = 0.1
_LIST_TIMEOUT_S = 30
_STDERR_TAIL_BYTES = 32_768
_READ_BYTES = 65_536
# A command opens up to 8 inputs and one output. The number is no setting, because nothing needs more.
_OPEN_FILES = 256


class FfmpegMissing(PhoenixError):
    """There is no ffmpeg."""


@dataclass(frozen=True)
class MediaTools:
    """The ffmpeg program, its encoder settings, and the time limits. Made once at start-up."""

    ffmpeg: str
    encoding: Encoding = field(default_factory=Encoding)
    timeout_s: float = 900
    probe_timeout_s: float = 10
    max_memory_bytes: int = 16_000_000_000
    max_file_bytes: int = 20_000_000_000
    max_part_s: float = 36_000

    @classmethod
    def from_settings(cls, settings: MediaSettings) -> "MediaTools":
        """Finds ffmpeg, with libx264 as its encoder; `encoders.open_tools` also chooses. Raises `FfmpegMissing`."""
        return cls(
            ffmpeg=find_ffmpeg(settings.ffmpeg),
            encoding=Encoding(preset=settings.preset, crf=settings.crf, threads=settings.threads),
            timeout_s=settings.timeout_s,
            probe_timeout_s=settings.probe_timeout_s,
            max_memory_bytes=settings.max_memory_bytes,
            max_file_bytes=settings.max_file_bytes,
        )

    @property
    def resource_limits(self) -> ResourceLimits:
        """What the kernel allows to one command."""
        # On every core for the whole time: the time limit of a command ends it first, unless its parent hangs.
        cpu_s = self.timeout_s * (os.cpu_count() or 1) + 1
        return ResourceLimits(self.max_memory_bytes, self.max_file_bytes, cpu_s, _OPEN_FILES)


def find_ffmpeg(configured: str | None = None) -> str:
    """Returns the path of the configured ffmpeg, or of the ffmpeg in imageio-ffmpeg, or of the ffmpeg on PATH.

    Raises `FfmpegMissing`.
    """
    for candidate in (configured,) if configured else (_bundled_ffmpeg(), "ffmpeg"):
        if candidate and (found := shutil.which(candidate)):
            return found
    if configured:
        raise FfmpegMissing(f"PHOENIX_MEDIA__FFMPEG: there is no program {configured}.")
    raise FfmpegMissing(
        f"There is no ffmpeg: {install_extra('media')}, add an ffmpeg to PATH, or set PHOENIX_MEDIA__FFMPEG."
    )


@lru_cache(maxsize=32)
def has_filter(ffmpeg: str, name: str) -> bool:
    """Whether an ffmpeg was built with a filter. Runs it the first time; blocks."""
    try:
        listed = subprocess.run(  # noqa: S603 - an argument list, no shell
            tied([ffmpeg, "-hide_banner", "-filters"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIST_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return f" {name} ".encode() in listed.stdout


def _bundled_ffmpeg() -> str | None:
    if find_spec("imageio_ffmpeg") is None:
        return None
    # Part of an extra: a machine with ffmpeg on PATH does not need it.
    import imageio_ffmpeg  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        return None


_VERSION_WITHIN_S = 10


@cache
def find_ffmpeg_version(ffmpeg: str) -> str | None:
    """The version that an ffmpeg says it has; None if it does not say. Runs the program once in each process."""
    try:
        command = tied([ffmpeg, "-hide_banner", "-version"])
        answer = subprocess.run(command, capture_output=True, timeout=_VERSION_WITHIN_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(rb"ffmpeg version (\S+)", answer.stdout)
    return found[1].decode(errors="replace") if found else None


@dataclass(frozen=True)
class Progress:
    """The frames and seconds of output that a command has written so far."""

    frames: int
    seconds: float


def _never() -> bool:
    return False


def _ignore(_: Progress) -> None:
    return None


@dataclass(frozen=True)
class FfmpegCallbacks:
    """Observes a command.

    `should_stop` is called ten times a second. `on_progress` may raise an error to stop the command.
    """

    should_stop: Callable[[], bool] = _never
    on_progress: Callable[[Progress], None] = _ignore

    def offset_by(self, done: Progress) -> "FfmpegCallbacks":
        """Returns callbacks for a later command: they add `done`, the progress of earlier commands."""

        def report(progress: Progress) -> None:
            self.on_progress(Progress(done.frames + progress.frames, done.seconds + progress.seconds))

        return FfmpegCallbacks(self.should_stop, report)


NO_CALLBACKS = FfmpegCallbacks()


@dataclass(frozen=True)
class FfmpegResult:
    """The last progress that a successful command reported, and the end of its error output."""

    progress: Progress
    stderr: str


def run_ffmpeg(
    arguments: Sequence[str],
    *,
    tools: MediaTools,
    stage: Stage,
    callbacks: FfmpegCallbacks = NO_CALLBACKS,
    stdin_chunks: Iterable[Buffer] | None = None,
) -> FfmpegResult:
    """Runs ffmpeg with `arguments`, and writes `stdin_chunks` to its standard input. Blocks until it ends.

    Its time limit leaves out the time for which the chunks are waited for: the caller limits that time.
    Raises `TaskFailed`, or `MediaStopped` when `callbacks` request a stop. After an error the process has ended, and
    its output file may be incomplete.
    """
    deadline_s = time.monotonic() + tools.timeout_s
    command = [tools.ffmpeg, *arguments]
    with (
        _running_child(command, tools.resource_limits, stage) as child,
        _Pipes(child, stdin_chunks, callbacks) as pipes,
    ):
        while not pipes.are_done:
            if callbacks.should_stop():
                raise MediaStopped
            if time.monotonic() > deadline_s + pipes.waited_s:
                raise _too_slow(tools.timeout_s, stage)
            pipes.poll(_POLL_S)
        try:
            returncode = child.wait(timeout=max(1.0, deadline_s + pipes.waited_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _too_slow(tools.timeout_s, stage) from None
    if returncode != 0:
        raise explain_exit(returncode, pipes.stderr, stage)
    return FfmpegResult(pipes.progress, pipes.stderr)


def _too_slow(limit_s: float, stage: Stage) -> TaskFailed:
    return TaskFailed(
        FailureCode.ENGINE_FAILED, f"ffmpeg ran longer than {in_seconds(limit_s)}", stage=stage, retriable=True
    )


@contextmanager
def _running_child(
    command: Sequence[str], limits: ResourceLimits, stage: Stage
) -> Generator["subprocess.Popen[bytes]"]:
    """Starts a child in another session, so that it gets no Ctrl-C. Kills the child at the end of the block."""
    try:
        child = subprocess.Popen(  # noqa: S603 - an argument list, no shell
            tied(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        detail = f"ffmpeg could not be started: {error.strerror}"
        raise TaskFailed(FailureCode.ENGINE_FAILED, detail, stage=stage, retriable=True) from error
    limits.apply_to(child.pid)
    # Encoding must not slow down the render of the next clip, or the heartbeat of its lease.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
    try:
        yield child
    finally:
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


class _Pipes:
    """The three pipes of a child. One thread serves all of them, so that no pipe fills up during a wait for another."""

    def __init__(
        self, child: "subprocess.Popen[bytes]", stdin_chunks: Iterable[Buffer] | None, callbacks: FfmpegCallbacks
    ) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self.progress = Progress(0, 0.0)
        self.waited_s = 0.0
        self._callbacks = callbacks
        self._files: tuple[IO[bytes], ...] = (child.stdin, child.stdout, child.stderr)
        self._stderr = bytearray()
        self._progress_parser = _ProgressParser()
        self._stdin_chunks = iter(stdin_chunks or ())
        self._unsent = memoryview(b"")
        self._selector = selectors.DefaultSelector()
        self._selector.register(child.stdout, selectors.EVENT_READ, self._read_progress)
        self._selector.register(child.stderr, selectors.EVENT_READ, self._read_stderr)
        if stdin_chunks is None:
            child.stdin.close()
        else:
            os.set_blocking(child.stdin.fileno(), False)
            self._selector.register(child.stdin, selectors.EVENT_WRITE, self._write)

    def __enter__(self) -> "_Pipes":
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for file in self._files:
            with suppress(OSError):
                file.close()

    @property
    def are_done(self) -> bool:
        return not self._selector.get_map()

    @property
    def stderr(self) -> str:
        return self._stderr.decode(errors="replace")

    def poll(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            file: IO[bytes] = key.fileobj  # pyright: ignore[reportAssignmentType]
            is_open: bool = key.data(file)
            if not is_open:
                self._selector.unregister(file)
                file.close()

    def _read_progress(self, file: IO[bytes]) -> bool:
        data = os.read(file.fileno(), _READ_BYTES)
        for progress in self._progress_parser.feed(data):
            self.progress = progress
            self._callbacks.on_progress(progress)
        return bool(data)

    def _read_stderr(self, file: IO[bytes]) -> bool:
        data = os.read(file.fileno(), _READ_BYTES)
        self._stderr += data
        del self._stderr[:-_STDERR_TAIL_BYTES]
        return bool(data)

    def _write(self, file: IO[bytes]) -> bool:
        if not self._unsent:
            started_s = time.monotonic()
            following = next(self._stdin_chunks, None)
            self.waited_s += time.monotonic() - started_s
            if following is None:
                return False
            self._unsent = memoryview(following).cast("B")
        try:
            self._unsent = self._unsent[os.write(file.fileno(), self._unsent) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            # ffmpeg has ended; its exit status and error output have the reason.
            return False
        return True


class _ProgressParser:
    """Parses the `key=value` lines of `-progress`, in chunks of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._values: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> Iterator[Progress]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            key, _, value = line.strip().partition(b"=")
            self._values[key] = value
            if key == b"progress":
                yield Progress(self._number(b"frame"), self._number(b"out_time_us") / 1e6)

    def _number(self, key: bytes) -> int:
        value = self._values.get(key, b"").strip()
        return max(0, int(value)) if value.lstrip(b"-").isdigit() else 0
