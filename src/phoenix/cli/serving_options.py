"""The options of `phoenix up`, `api` and `worker` that say where they listen and on which devices they work."""

import re
from typing import Annotated

import typer

HostOption = Annotated[
    str | None, typer.Option(help="Address to listen on; PHOENIX_API__HOST, or 127.0.0.1, if unset.")
]
PortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port to listen on; PORT, or 8080, if unset. 0 picks a free one."),
]


def check_device_names(names: list[str] | None) -> list[str] | None:
    """Refuses a mistyped name at once: a supervisor would start workers that end with it again and again."""
    for name in names or ():
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
            raise typer.BadParameter(f"there is no device {name!r}; give cpu, cuda:N or auto.")
    return names
