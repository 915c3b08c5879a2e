"""Writes requirements/*.txt: what each image, the demo and the tests install, with hashes. Needs uv."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The extras of pyproject.toml that each file is for. The first three are named like the image that installs them.
EXTRAS = {
    "api": ("c2pa", "frames", "llm", "media", "otel", "postgres", "s3", "search", "sentry", "veo"),
    "worker": ("worker", "quantization", "frames", "otel", "postgres", "sentry"),
    "runpod": ("worker", "quantization", "runpod", "s3", "postgres"),
    "embedded": ("embedded",),
    "dev": ("dev",),
}
# hatchling asks for it when it builds an editable package, and only then.
EDITABLE_TOOLS = ("editables",)
# What builds and checks a release; nothing of it is in an image.
RELEASE_TOOLS = ("build>=1.4", "cyclonedx-bom>=7.5", "pip-audit>=2.10", "twine>=6")
# Tests run with any build of torch, and a build for the CPU has other hashes than the one for CUDA.
WITHOUT = {"dev": "torch\n"}


def main(uv: str) -> None:
    for name, extras in EXTRAS.items():
        named = [word for extra in extras for word in ("--extra", extra)]
        excluded = ["--excludes", _write(f"{name}-without.txt", WITHOUT[name])] if name in WITHOUT else []
        _compile(uv, name, ["pyproject.toml", *named, *excluded])
    _compile(uv, "release", [_write("release-tools.txt", "\n".join(RELEASE_TOOLS))])
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    _compile(uv, "build", [_write("build-system.txt", "\n".join([*build, *EDITABLE_TOOLS]))])
    # The newest version of everything that no direct dependency asks for.
    lowest = ["--resolution", "lowest-direct", "--excludes", _write("lowest-without.txt", "torch\n")]
    _run(uv, "tests/lowest.txt", ["pyproject.toml", "--extra", "dev", *lowest])


def _compile(uv: str, name: str, arguments: list[str]) -> None:
    # A lock is for every platform: a requirement that only some need has a marker.
    options = ["--universal", "--generate-hashes", "--constraint", "tests/constraints.txt"]
    _run(uv, f"requirements/{name}.txt", [*arguments, *options])


def _run(uv: str, output: str, arguments: list[str]) -> None:
    # The patch version is the lowest that the documentation tools accept.
    options = ["--python-version", "3.11.5", "--no-config", "--no-annotate", "--quiet"]
    command = [uv, "pip", "compile", *arguments, *options, "--upgrade"]
    command += ["--custom-compile-command", "make locks", "--output-file", output]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - an argument list, no shell


def _write(name: str, text: str) -> str:
    """The path of a new file in build/, relative to the root."""
    path = ROOT / "build" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1])
