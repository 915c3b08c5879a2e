"""The `phoenix` command. Imports the rooms that weigh something only when a command of theirs is run."""

from phoenix.cli.app import main

__all__ = ["main"]
