"""The `phoenix` command. Imports heavy packages only when a command that needs them runs."""

from phoenix.process_memory import no_garbage_collection

with no_garbage_collection():
    from phoenix.cli.app import main

__all__ = ["main"]
