"""Forks worker processes from one process that has imported all their modules and holds no thread.

A forked child costs hundredths of a second where a new interpreter imports for a second, and it shares the memory of
the modules with its siblings. Only on Linux: there the kernel ends each process with its parent, and no library of the
system forbids a fork without exec.
"""

import asyncio
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from phoenix.child_processes import LIFELINE_VARIABLE, die_with_parent, name_process

Run = Callable[[Sequence[str]], int]
"""What a child runs: takes its command-line arguments, and returns its exit status."""

_MAX_MESSAGE_BYTES = 1 << 20


class ForkServerEnded(OSError):
    """The fork server was killed, and its children with it."""


class ForkedChild:
    """A child of the fork server, with the interface of `asyncio.subprocess.Process` that Phoenix uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the child runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Raises `ProcessLookupError` if the child has ended. So does `kill`."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._ended.done():
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)

    def set_ended(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)


class ForkServer:
    """The parent's end. `start_fork_server` makes it; all other calls are made on one event loop."""

    def __init__(self, link: socket.socket, pid: int) -> None:
        self.pid = pid
        self._link = link
        self._link.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: deque[asyncio.Future[ForkedChild]] = deque()
        self._children: dict[int, ForkedChild] = {}
        self._has_ended = False

    @property
    def children(self) -> list[ForkedChild]:
        """The children that run."""
        return list(self._children.values())

    async def spawn(self, arguments: Sequence[str], *, env: Mapping[str, str]) -> ForkedChild:
        """Forks a child, in a session of its own, that ends with the fork server, which ends with this process.

        Raises `OSError` if no process can be started, and `ForkServerEnded` if this server cannot start any more.
        """
        if self._has_ended:
            raise ForkServerEnded
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._link, self._read)
        try:
            self._link.send(json.dumps({"arguments": list(arguments), "environment": dict(env)}).encode())
        except ConnectionError as error:
            self._end()
            raise ForkServerEnded from error
        started: asyncio.Future[ForkedChild] = self._loop.create_future()
        self._starting.append(started)
        return await started

    def close(self) -> None:
        """Ends the server and all children that still run. Call it after the event loop, or in its last moments."""
        self._stop_reading()
        self._link.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while message := self._receive():
                self._handle(**json.loads(message))
            self._end()

    def _receive(self) -> bytes:
        """Empty if the server has ended."""
        try:
            return self._link.recv(_MAX_MESSAGE_BYTES)
        except ConnectionError:
            return b""

    def _handle(self, pid: int, status: int | None = None, errno: int = 0) -> None:
        if status is not None:
            self._children.pop(pid).set_ended(status)
            return
        started = self._starting.popleft()
        if errno:
            if not started.done():
                started.set_exception(OSError(errno, os.strerror(errno)))
            return
        self._children[pid] = child = ForkedChild(pid)
        if started.done():
            # The caller was cancelled meanwhile.
            child.kill()
        else:
            started.set_result(child)

    def _end(self) -> None:
        self._has_ended = True
        self._stop_reading()
        for child in self._children.values():
            child.set_ended(-signal.SIGKILL)
        while self._starting:
            if not (started := self._starting.popleft()).done():
                started.set_exception(ForkServerEnded())

    def _stop_reading(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._link)


def start_fork_server(run: Run, *, name: str) -> ForkServer | None:
    """A server whose children call `run`. None on a system, or in a process, that cannot fork safely.

    Call it before this process starts a thread: a lock that another thread holds would stay locked in the children.
    `name`: what lists of processes show for a child, at most 15 characters.
    """
    if sys.platform != "linux" or len(list(Path("/proc/self/task").iterdir())) > 1:
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        # The environment of a child can be long.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_MESSAGE_BYTES)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _serve(theirs, run, name, parent)
    theirs.close()
    return ForkServer(ours, pid)


def _serve(link: socket.socket, run: Run, name: str, parent: int) -> NoReturn:
    """The life of the server process: forks on request and reports what ended, until the parent closes the link."""
    try:
        # Ctrl-C must reach only the parent: it stops its children in order.
        os.setsid()
        die_with_parent()
        if os.getppid() == parent:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            _Server(link, run, name).serve()
    except BaseException:  # noqa: BLE001 - nothing of the parent's program may run here
        traceback.print_exc()
    finally:
        os._exit(0)


class _Server:
    def __init__(self, link: socket.socket, run: Run, name: str) -> None:
        self._link = link
        self._run = run
        self._name = name
        self._wake, wake_fd = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_fd, False)
        signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        self._inherited = (self._wake, wake_fd, link.fileno())
        self._pid = os.getpid()

    def serve(self) -> None:
        with selectors.PollSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._wake in ready:
                    os.read(self._wake, 4096)
                if self._link.fileno() in ready:
                    request = self._link.recv(_MAX_MESSAGE_BYTES)
                    if not request:
                        return
                    self._fork(**json.loads(request))
                self._report_ended()

    def _fork(self, arguments: list[str], environment: dict[str, str]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._send(pid=0, errno=error.errno or 0)
            return
        if pid == 0:
            self._become_child(arguments, environment)
        self._send(pid=pid)

    def _become_child(self, arguments: list[str], environment: dict[str, str]) -> NoReturn:
        status = 1
        try:
            die_with_parent()
            if os.getppid() != self._pid:
                # The server was killed before the kernel knew that this process must end with it.
                os._exit(status)
            os.setsid()
            name_process(self._name)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for fd in self._inherited:
                os.close(fd)
            os.environ.clear()
            # Without a lifeline: here the kernel ends the child with its parent.
            os.environ.update({key: value for key, value in environment.items() if key != LIFELINE_VARIABLE})
            status = self._run(arguments)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - the server's loop must not go on in the child
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # sys.exit would join all threads, and a thread that hangs would keep the process alive for ever.
            os._exit(status)

    def _report_ended(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                self._send(pid=pid, status=os.waitstatus_to_exitcode(status))

    def _send(self, **message: int) -> None:
        self._link.send(json.dumps(message).encode())


def _do_nothing(_signal: int, _frame: object) -> None:
    """A signal without a handler would not wake the selector."""
