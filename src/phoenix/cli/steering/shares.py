"""`phoenix shares …`: how much of the fleet each key gets."""

from typing import Annotated

import typer
from rich.table import Column, Table

from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import exit_on_error, out, print_json
from phoenix.contract.steering import KeyShare, KeyShareRequest

shares_app = typer.Typer(no_args_is_help=True, help="Give keys weights in the queue, and limits.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key.")]


@shares_app.command("list")
def list_shares(as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """List the keys with a weight or a limit of their own."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.list_shares()
        if as_json:
            print_json(found)
            return
        out.print(_table(found) if found else "Every key has the same share.")


@shares_app.command("set")
def set_share(
    key: KeyArgument,
    weight: Annotated[float, typer.Option(min=0.01, max=100, help="2 for twice the time of other keys.")] = 1,
    max_running: Annotated[
        int | None,
        typer.Option(min=0, help="The most clips at a time; 0 for no limit, the limit of the server if unset."),
    ] = None,
    max_running_per_model: Annotated[
        int | None, typer.Option(min=1, help="The most clips of one model at a time; no limit if unset.")
    ] = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Set the weight and the limits of a key. What is left out is as for every key."""
    limits = {"max_running_clips": max_running, "max_running_clips_per_model": max_running_per_model}
    share = KeyShareRequest.model_validate({"weight": weight, **{k: v for k, v in limits.items() if v is not None}})
    with exit_on_error(), connect(url, api_key) as phoenix:
        out.print(_table([phoenix.set_share(key, share)]))


@shares_app.command("remove")
def remove_share(key: KeyArgument, url: UrlOption = None, api_key: ApiKeyOption = None) -> None:
    """Let a key have what every key has."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        phoenix.remove_share(key)
        out.print(f"{key} has what every key has.")


def _table(shares: list[KeyShare]) -> Table:
    table = Table("key", *(Column(name, justify="right") for name in ("weight", "clips", "of a model")), box=None)
    for share in shares:
        clips = {None: "as set", 0: "no limit"}.get(share.max_running_clips, str(share.max_running_clips))
        of_model = "no limit" if share.max_running_clips_per_model is None else str(share.max_running_clips_per_model)
        table.add_row(share.key_id, f"{share.weight:.2f}", clips, of_model)
    return table
