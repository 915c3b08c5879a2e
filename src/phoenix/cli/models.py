"""`phoenix models …`: the models of a server, those that this machine can serve, and the download of their weights."""

import asyncio
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.table import Column, Table

from phoenix.catalog.catalog import load_catalog
from phoenix.catalog.fit import WEIGHTS_SHARE, Fit
from phoenix.cli.connecting import ApiKeyOption, JsonOption, UrlOption, connect
from phoenix.cli.console import err, exit_on_error, format_gigabytes, out, print_json, read_settings
from phoenix.cli.tables import models_table, postprocessor_lines, what_models_take, why_not_served
from phoenix.clock import plain_number
from phoenix.engine.readiness import Readiness, card_of_machine, list_gpus, machine_of, survey
from phoenix.errors import PhoenixError, install_extra

models_app = typer.Typer(help="List models, and download their weights.")

_STYLES = {Fit.FITS: None, Fit.BUSY: "yellow", Fit.OFFLOADED: "yellow", Fit.TOO_LARGE: "red"}
_GIGABYTE = 1_000_000_000

# The client of the hub takes 0.3 s to import.
# ruff: noqa: PLC0415


@models_app.callback(invoke_without_command=True)
def list_models(
    context: typer.Context, as_json: JsonOption = False, url: UrlOption = None, api_key: ApiKeyOption = None
) -> None:
    """List the models of a server with their limits and defaults, what they take, and whether a worker serves them now.

    Upscalers, interpolators and lip models, which are for every model, stand at the end. With --json, only the models
    are listed.
    """
    if context.invoked_subcommand is not None:
        return
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.model_list()
        models = found.data
        if as_json:
            print_json(models)
            return
        out.print(models_table(models, width=out.width))
        for line in (*what_models_take(models), *postprocessor_lines(found)):
            out.print(line, soft_wrap=True)
        for line in why_not_served(models):
            err.print(line, style="dim")


@models_app.command("here")
def list_here(
    device_memory: Annotated[
        float | None, typer.Option(min=1, help="Memory of another device in GB, instead of the device of this machine.")
    ] = None,
) -> None:
    """List which models this machine can serve: their weights, the memory that these need, and what is in the way."""
    settings = read_settings()
    with exit_on_error():
        catalog = load_catalog(settings.engine.catalog_file)
        gpus = asyncio.run(list_gpus()) if device_memory is None else []
        machine = machine_of(gpus, settings.engine)
        if device_memory is not None:
            total_bytes = int(device_memory * _GIGABYTE)
            machine = replace(
                machine,
                name=f"a device of {plain_number(device_memory)} GB",
                free_bytes=total_bytes,
                budget_bytes=int(total_bytes * WEIGHTS_SHARE),
            )
        out.print(f"{machine.name}: {format_gigabytes(machine.budget_bytes)} for weights")
        card = card_of_machine(gpus, machine)
        if device_memory is not None:
            card = replace(card, is_gpu=True)
        found = survey(catalog, settings, machine, card, needed_adapters=catalog.needed_adapters)
        out.print(readiness_table(found))
        for each in found:
            for choice in each.choices:
                out.print(f"{each.model.id}: {choice}", soft_wrap=True)
        if any(each.lacks_weights for each in found):
            err.print("`phoenix models pull MODEL` downloads the weights of a model.", style="dim")


def readiness_table(found: list[Readiness]) -> Table:
    """One line per model. The last column says what is in the way, or that nothing is."""
    names = ("model", "weights", "devices", "download", "fits")
    whole = [Column(name, no_wrap=True) for name in names]
    table = Table(*whole, Column("served", overflow="fold"), box=None, pad_edge=False)
    for each in found:
        model = each.model
        table.add_row(
            model.id,
            "-" if model.memory_bytes is None else format_gigabytes(model.memory_bytes),
            "-" if model.engine != "diffusers" else str(model.devices),
            "-" if model.download_bytes is None else format_gigabytes(model.download_bytes),
            each.fit.value,
            "not pulled" if each.lacks_weights else each.obstacle or "yes",
            style="dim" if each.obstacle else _STYLES.get(each.fit),
        )
    return table


@models_app.command("pull")
def pull_weights(
    model_id: Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model; see `phoenix models here`.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of its repository; that of the catalog if unset.")
    ] = None,
) -> None:
    """Download the weights of a model and the adapters of its tiers, and verify them. Prints the folder of the weights.

    Run it again after a failure: files that are complete are kept. Needs nothing of a server, and only a disk of one.
    """
    settings = read_settings()
    with exit_on_error():
        catalog = load_catalog(settings.engine.catalog_file)
        model = catalog.get(model_id)
        if find_spec("huggingface_hub") is None:
            raise PhoenixError(f"the client of the hub is missing; {install_extra('worker')}")
        from phoenix.engine.backends.diffusers.hub.pulling import pull, pull_adapters

        if model.license is not None:
            err.print(f"{model.id} is published under {model.license.name}: {model.license.url}", style="dim")
        notify = partial(err.print, style="dim")
        pulled = pull(model, revision=revision, notify=notify)
        pull_adapters(model, catalog.tier_adapters(model), notify=notify)
        out.print(str(pulled.folder))
        if model.revision is None:
            err.print(_how_to_pin(model_id, pulled.commit, is_needed=pulled.revision != "main"))


@models_app.command("unload")
def unload_model(
    model_id: Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model.")],
    worker: Annotated[str | None, typer.Option(help="Only this worker; every worker that has it if unset.")] = None,
    url: UrlOption = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Let the workers of a server drop a model from memory, once no clip needs it. For administrators."""
    with exit_on_error(), connect(url, api_key) as phoenix:
        found = phoenix.unload_model(model_id, worker_id=worker)
        out.print(f"{', '.join(found.workers)} drops {model_id}." if found.workers else "No worker has it in memory.")


def _how_to_pin(model_id: str, commit: str, *, is_needed: bool) -> str:
    reason = "Workers read the revision main otherwise" if is_needed else "To keep this commit when main moves"
    entry = f'[[models]]\nid = "{model_id}"\nrevision = "{commit}"'
    return f"{reason}. Put this into the file of PHOENIX_ENGINE__CATALOG_FILE:\n{entry}"
