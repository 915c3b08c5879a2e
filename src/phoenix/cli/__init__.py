"""The `phoenix` command. Imports heavy rooms only when a command that needs them runs."""

from phoenix.cli.app import main

__all__ = ["main"]
