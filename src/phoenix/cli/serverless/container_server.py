"""The server of one container: private but for the store, of which it gets a folder of its own."""

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from phoenix.cli.embedded.private import OwnServer, own_server, private_settings
from phoenix.settings import Settings

PRIVATE_GROUPS = ("redis", "database")


@contextmanager
def container_server(settings: Settings, container: str) -> Generator[OwnServer]:
    """A server of this container's own, with its messages on stderr; what it keeps on disk goes with it.

    `container` is a name that no other one has or had. Raises `PrivateServerFailed`. Call it from the main thread.
    """
    # In a new folder, because containers may be given one volume and only one server can have a folder.
    place = settings.data_dir.absolute() if "data_dir" in settings.model_fields_set else None
    if place:
        place.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="serverless-", dir=place) as folder,
        own_server(container_settings(settings, Path(folder), container)) as server,
    ):
        yield server


def container_settings(settings: Settings, folder: Path, container: str) -> Settings:
    """With the operator's store, and without the operator's Redis and database."""
    private = private_settings(settings, folder, PRIVATE_GROUPS)
    if settings.storage.url is None:
        return private
    # A server deletes files of which its database knows nothing: in one folder they would delete each other's.
    storage = settings.storage.model_copy(update={"url": f"{settings.storage.url.rstrip('/')}/{container}"})
    return private.model_copy(update={"storage": storage})
