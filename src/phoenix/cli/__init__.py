"""The `phoenix` command. Imports heavy packages only when a command that needs them runs."""

from phoenix.garbage_collection import no_garbage_collection

with no_garbage_collection():
    from phoenix.cli.app import main

__all__ = ["main"]
