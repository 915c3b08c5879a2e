"""Schemathesis with all of its checks, driven by the exact document, with two keys that must not see each other.

The server does what the document says, and no more.
"""

import json
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures import child_processes
from fixtures.client_tools import EXACT_DOCUMENT

CHECKS = Path(__file__).with_name("schemathesis.toml")
PROGRAM = Path(sys.executable).parent / "schemathesis"
OPTIONS = (
    "--mode=all",
    "--continue-on-failure",
    "--request-timeout=20",
    "--suppress-health-check=all",
    "--warnings=off",
    "--no-color",
)

ALL_PHASES = "examples,coverage,fuzzing,stateful"
RANDOM_PHASES = "fuzzing,stateful"
"""The other phases make the same requests in every run."""

TAKE_A_REEL = {"estimate_reel": "create_reel", "refine_storyboard": "create_reel"}
"""Operations whose body is, or holds, the body of another: a quarter of all cases would try its fields once more."""


@dataclass(frozen=True)
class DocumentRun:
    has_passed: bool
    output: str

    @property
    def cases(self) -> int:
        found = re.search(r"(\d+) generated", self.output)
        return int(found[1]) if found else 0


def run_document(
    url: str,
    keys: Mapping[str, str],
    folder: Path,
    *,
    examples: int,
    seed: int | None = None,
    phases: str = ALL_PHASES,
    each_body_once: bool = False,
) -> DocumentRun:
    """`examples`: the most random cases of a phase and operation. Without a seed, every run makes the same requests.

    `each_body_once`: the coverage phase leaves out the operations of `TAKE_A_REEL`.
    """
    draws = ["--generation-deterministic"] if seed is None else [f"--seed={seed}", "--generation-database=none"]
    config = f"--config-file={write_config(folder, keys, TAKE_A_REEL if each_body_once else ())}"
    options = [*OPTIONS, f"--url={url}", f"--phases={phases}", f"--max-examples={examples}", *draws]
    command: Sequence[str] = [str(PROGRAM), config, "run", str(EXACT_DOCUMENT), *options]
    done = child_processes.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return DocumentRun(done.returncode == 0, done.stdout)


def write_config(folder: Path, keys: Mapping[str, str], uncovered: Collection[str]) -> Path:
    """The settings of the checks, with the keys as users whose objects are their own.

    The coverage phase leaves out the operations of `uncovered`.
    """
    users = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
        for name, key in keys.items()
    ]
    (folder / "users.json").write_text(json.dumps({"auth": users}))
    config = folder / "schemathesis.toml"
    own = f'\n[auth.wfc]\npath = "{folder / "users.json"}"\npeers = {json.dumps(list(keys))}\n'
    left_out = (
        f"\n[[operations]]\ninclude-operation-id = {json.dumps(list(uncovered))}\nphases.coverage.enabled = false\n"
    )
    config.write_text(CHECKS.read_text() + own + (left_out if uncovered else ""))
    return config
