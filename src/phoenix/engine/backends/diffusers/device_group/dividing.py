"""Divides the sequence of denoisers between ranks, by the context parallelism of diffusers.

`enable_parallelism` of diffusers needs an accelerator, since it takes the rank modulo the number of accelerators. It
also makes a mesh of all ranks, while each branch of guidance has a mesh of its own here. So its parts are used.
"""

import importlib
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist

from phoenix.engine.backends.diffusers.device_group.plan import Roles

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""All ranks are on this machine, whose name may have no address."""


def join_process_group(rank: int, *, size: int, device: str, store: str, limit_s: float) -> None:
    """Joins the ranks of this worker: every rank has to call it. An earlier process group ends first."""
    leave_process_group()
    is_gpu = device.startswith("cuda")
    with _loopback_alone():
        dist.init_process_group(
            "nccl" if is_gpu else "gloo",
            store=cast("Any", dist).FileStore(store, size),
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=limit_s),
            device_id=torch.device(device) if is_gpu else None,
        )


def leave_process_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def abort_process_group() -> None:
    """Ends the collectives of this process that wait for a rank which ended. gloo sees that by itself."""
    if dist.is_initialized() and dist.get_backend() == "nccl":
        groups: Any = importlib.import_module("torch.distributed.distributed_c10d")
        groups._abort_process_group()


def divide(denoisers: Mapping[str, Any], roles: Roles, *, device: str) -> None:
    """Divides the denoisers between the ranks of the process group: every rank has to call it.

    Denoisers that an earlier process group divided are bound to this one. Raises `ValueError` for a denoiser whose
    attention would not take part.
    """
    parts: Any = importlib.import_module("diffusers.models._modeling_parallel")
    hooks: Any = importlib.import_module("diffusers.hooks.context_parallel")
    parallelism = roles.parallelism
    sides = {"ring": 1, "ulysses": 1, parallelism.method: parallelism.context}
    shape = (2 if parallelism.guidance else 1, sides["ring"], sides["ulysses"])
    kinds: Any = importlib.import_module("torch.distributed.device_mesh")
    with _loopback_alone():
        mesh = kinds.DeviceMesh(
            torch.device(device).type,
            torch.arange(roles.size).view(shape),
            mesh_dim_names=("branch", "ring", "ulysses"),
        )
        config: Any = next((found for it in denoisers.values() if (found := it._parallel_config) is not None), None)
        is_new = config is None
        if is_new:
            degree = {f"{parallelism.method}_degree": parallelism.context}
            config = parts.ParallelConfig(context_parallel_config=parts.ContextParallelConfig(**degree))
        config.setup(dist.get_rank(), roles.size, torch.device(device), mesh=mesh)
    for denoiser in denoisers.values() if is_new else ():
        _bind(denoiser, config)
        hooks.apply_context_parallel(denoiser, config.context_parallel_config, denoiser._cp_plan)


def _bind(denoiser: Any, config: Any) -> None:
    processors: list[Any] = [getattr(part, "processor", None) for part in denoiser.modules()]
    found = [processor for processor in processors if hasattr(processor, "_parallel_config")]
    if not found:
        raise ValueError(f"{type(denoiser).__name__} has no attention that can be divided")
    for processor in found:
        processor._parallel_config = config
    denoiser._parallel_config = config


@contextmanager
def _loopback_alone() -> Generator[None]:
    """Sets the interface for process groups that are made during the block, unless the operator chose one."""
    missing = LOOPBACK.keys() - os.environ.keys()
    os.environ.update({name: "lo0" if sys.platform == "darwin" else LOOPBACK[name] for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
