"""Phoenix: a self-hosted video-generation backend."""

from importlib.metadata import PackageNotFoundError, version

# The release that this source belongs to. The OpenAPI documents have it, so that they change with a release and not
# with each commit. pyproject.toml has it as the version of a build without git.
RELEASE = "0.1.0"

try:
    # The build takes it from the git tag.
    __version__ = version("phoenix")
except PackageNotFoundError:  # this source is on the path, and no package is installed
    __version__ = RELEASE
