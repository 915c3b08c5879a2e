"""The Python environment of the peers, apart from Phoenix: what they need is in nobody's dependencies."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from suite.borrowed import PEERS, REPOSITORY, child_processes

_FOLDER = REPOSITORY / "build" / "bench-peers"


class PeersMissing(Exception):
    """The packages of the peers could not be installed."""


@dataclass(frozen=True)
class PeersEnvironment:
    folder: Path

    def binary(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def variables(self, **added: str) -> Mapping[str, str]:
        """The environment of a peer's process."""
        return {**os.environ, "PYTHONPATH": str(PEERS), **added}


@cache
def open_peers() -> PeersEnvironment:
    """Installs what is pinned, unless that is done. Raises `PeersMissing`."""
    pins = (PEERS / "requirements.txt").read_text()
    stamp = _FOLDER / "installed.txt"
    if not (stamp.exists() and stamp.read_text() == pins):
        print(f"Installing the peers into {_FOLDER.relative_to(REPOSITORY)} …", file=sys.stderr, flush=True)
        # Clears what an older version has installed.
        _run([sys.executable, "-m", "venv", "--clear", _FOLDER])
        options = ["--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([_FOLDER / "bin" / "python", "-m", "pip", "install", *options, "-r", PEERS / "requirements.txt"])
        stamp.write_text(pins)
    return PeersEnvironment(_FOLDER)


def _run(command: list[str | Path]) -> None:
    done = child_processes.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise PeersMissing(done.stderr.strip().splitlines()[-1] if done.stderr else f"{command[0]} failed")
