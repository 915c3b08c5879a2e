"""A worker's temporary files: each attempt has a private folder that does not outlive it."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir


class Scratch:
    """The folder of one worker process; after a kill, its supervisor removes it."""

    def __init__(self, worker_id: str) -> None:
        self.path = Path(gettempdir()) / f"phoenix-{worker_id}"

    @contextmanager
    def folder(self) -> Generator[Path]:
        """A folder for one attempt; deleted afterwards with everything in it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.path) as folder:
            yield Path(folder)

    def remove(self) -> None:
        """Removes the worker's folder, if there is one."""
        shutil.rmtree(self.path, ignore_errors=True)
