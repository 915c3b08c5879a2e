"""Phoenix: a self-hosted video-generation backend."""

from functools import cache

# The release that this source belongs to. The OpenAPI documents have it, so that they change with a release and not
# with each commit. pyproject.toml has it as the version of a build without git.
RELEASE = "0.1.0"

__version__: str


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _read_version()


@cache
def _read_version() -> str:
    # Imported late: a process that probes media needs no version, and would spend a quarter of its time on this import.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        # The build takes it from the git tag.
        return version("phoenix")
    except PackageNotFoundError:  # this source is on the path, and no package is installed
        return RELEASE
