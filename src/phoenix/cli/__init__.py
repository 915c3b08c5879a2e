"""The `phoenix` command. Imports heavy packages only when a command that needs them runs."""

from phoenix.cli.app import main

__all__ = ["main"]
