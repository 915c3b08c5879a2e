"""`--profile`: samples the stacks of the measured processes, and lists where their time went.

py-spy attaches to a process. Without root, Linux lets it do so only where `kernel.yama.ptrace_scope` is 0.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from suite.borrowed import child_processes
from suite.environments import open_peers


@dataclass
class Profiler:
    """Where the stacks go. Without a folder nothing is sampled."""

    folder: Path | None = None
    written: list[Path] = field(default_factory=list[Path])

    @contextmanager
    def sampling(self, pid: int, name: str) -> Generator[None]:
        """Samples the process during the block."""
        if self.folder is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.txt"
        command = [open_peers().binary("py-spy"), "record", "--pid", str(pid), "--format", "raw", "--rate", "200"]
        options = ["--output", path, "--duration", "3600", "--nonblocking"]
        sampler = child_processes.start([*command, *options])
        try:
            yield
        finally:
            # It writes the file when it is interrupted.
            sampler.send_signal(signal.SIGINT)
            sampler.wait(60)
            if path.exists():
                self.written.append(path)


PROFILER = Profiler()
"""Of this run."""
