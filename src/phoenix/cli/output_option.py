"""The option that says where a video is written."""

import os
from pathlib import Path
from typing import Annotated

import typer


def check_output(path: Path | None) -> Path | None:
    """Refuses what cannot be written before a GPU is spent on it."""
    if path and path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; name a file in it.")
    if path and not os.access(path.parent, os.W_OK):
        raise typer.BadParameter(f"the folder {path.parent} does not exist or cannot be written.")
    return path


OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", callback=check_output, help="File to write; reel-<id>.mp4 if unset."),
]
