"""Where a worker keeps its files while it works, each attempt in a private folder that does not outlive it."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir


class Scratch:
    """The folder of one worker process. What a killed one leaves there is its supervisor's to remove."""

    def __init__(self, worker_id: str) -> None:
        self.path = Path(gettempdir()) / f"phoenix-{worker_id}"

    @contextmanager
    def folder(self) -> Generator[Path]:
        """Of one attempt; gone afterwards with all that is in it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.path) as folder:
            yield Path(folder)

    def remove(self) -> None:
        """Nothing to remove is no fault."""
        shutil.rmtree(self.path, ignore_errors=True)
