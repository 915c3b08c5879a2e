"""Decodes latents one clip at a time and one call at a time. Retries with smaller tiles when memory is short.

The retries are inside `vae.decode`, so that a shortage of memory there does not repeat the denoising. Where a class
allows it, frames leave the device from there too: the pipeline would hold the whole clip three times as floats.
"""

import functools
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch

from phoenix.engine.backends.diffusers.decoding.frames import split
from phoenix.engine.backends.diffusers.decoding.time_steps import decode_in_steps, to_unit_range, uses_tiles
from phoenix.engine.backends.diffusers.out_of_memory import is_out_of_memory, is_too_large
from phoenix.engine.backends.diffusers.step_callbacks import Call, Take, current_call
from phoenix.engine.device import release_memory
from phoenix.errors import Stage
from phoenix.telemetry.logs import get_logger

_logger = get_logger(__name__)

SMALLEST_TILE_PX = 64

PICTURES = 4
"""Dimensions of the latents of a VAE that decodes pictures: it has no dimension for time."""

Decode = Callable[..., Any]


def guard_vae(vae: Any) -> None:
    """Wraps `encode` and `decode` in a lock. Call it once after loading.

    The VAE of Wan has a feature cache on the module: concurrent decodes corrupt each other.
    """
    lock = threading.RLock()
    encode, decode = vae.encode, vae.decode

    @functools.wraps(encode)
    def encode_alone(*args: Any, **kwargs: Any) -> Any:
        with lock:
            try:
                return encode(*args, **kwargs)
            finally:
                getattr(vae, "clear_cache", _ignore)()

    @functools.wraps(decode)
    def decode_alone(latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        call = current_call()
        if call is not None:
            call.enter(Stage.DECODE)
        with lock:
            if call is not None and call.take is not None and len(latents) == len(call.rows):
                _hand_rows_over(vae, decode, call, call.take, latents)
                # The frames are elsewhere. The pipeline continues with a black dot for each row.
                return (latents.new_zeros(len(latents), 3, 1, 1, 1),)
            return _decode_rows(vae, decode, call, latents, *args, **kwargs)

    vae.encode, vae.decode = encode_alone, decode_alone


def _decode_rows(vae: Any, decode: Decode, call: Call | None, latents: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    """Decodes row by row: a batch is not faster here, and its decode would be the memory peak of the call."""
    count = latents.shape[0]
    # AnimateDiff and Latte have a VAE of pictures: there, a row is a frame.
    if call is None or count == 1 or count != len(call.rows) or latents.dim() == PICTURES:
        return _decode_with_fallbacks(vae, decode, call, latents, *args, **kwargs)
    decoded: list[Any] = []
    live_rows: list[int] = []
    for row in range(count):
        if call.rows[row].is_stopped and (live_rows or row < count - 1):
            continue
        live_rows.append(row)
        ours = [_row(value, row, count) for value in (latents, *args)]
        named = {name: _row(value, row, count) for name, value in kwargs.items()}
        decoded.append(_decode_with_fallbacks(vae, decode, call, *ours, **named))
    call.rows = [call.rows[row] for row in live_rows]
    return _joined(decoded)


def _hand_rows_over(vae: Any, decode: Decode, call: Call, take: Take, latents: torch.Tensor) -> None:
    """Decodes the clips of the call one by one, and hands their frames on while they are decoded."""
    for row, request in enumerate(call.rows):
        if not request.is_stopped:
            one = latents[row : row + 1]
            _with_fallbacks(vae, call, lambda it=request, one=one: take(it, _chunks(vae, decode, one)))
    call.check()


def _chunks(vae: Any, decode: Decode, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields the frames of one row of latents, `[frames, 3, height, width]` with values from 0 to 1."""
    if uses_tiles(vae, latents):
        (video,) = decode(latents, return_dict=False)
        yield from (to_unit_range(chunk) for chunk in split(video[0].transpose(0, 1)))
    else:
        yield from decode_in_steps(vae, latents)


def _decode_with_fallbacks(vae: Any, decode: Decode, call: Call | None, *args: Any, **kwargs: Any) -> Any:
    return _with_fallbacks(vae, call, lambda: decode(*args, **kwargs))


def _with_fallbacks(vae: Any, call: Call | None, attempt: Callable[[], Any]) -> Any:
    shortage = ""
    with _settings_restored(vae):
        for size, change in (("as set", _as_set), ("tiles", _tile), ("small tiles", _tile_finely)):
            if call is not None:
                call.check()
            if not change(vae):
                continue
            try:
                return attempt()
            except Exception as error:
                if not (is_out_of_memory(error) or is_too_large(error)):
                    raise
                shortage = str(error)
            finally:
                # A decode that was stopped or ran out of memory leaves tensors in the cache.
                getattr(vae, "clear_cache", _ignore)()
            # Not inside the `except` block, where the error keeps the tensors of the decode alive.
            release_memory()
            _logger.warning("a decode was too large", tried=size, error=shortage)
    raise torch.OutOfMemoryError(shortage)


@contextmanager
def _settings_restored(vae: Any) -> Generator[None]:
    """Restores the tiling of the VAE after the block: tiles take time, and change the picture a little."""
    attributes = cast("dict[str, Any]", vars(vae))
    before = {name: value for name, value in attributes.items() if name.startswith(("use_", "tile_"))}
    try:
        yield
    finally:
        attributes.update(before)


def _as_set(_vae: Any) -> bool:
    return True


def _tile(vae: Any) -> bool:
    """Switches tiling on. Returns False if it is on already, or if the VAE has none."""
    if getattr(vae, "use_tiling", False) or not hasattr(vae, "enable_tiling"):
        return False
    vae.enable_tiling()
    return True


def _tile_finely(vae: Any) -> bool:
    """Halves the side of the tiles; the share of the overlap stays. Returns False if the tiles are the smallest."""
    tiles = cast("dict[str, Any]", vars(vae))
    if tiles.get("tile_sample_min_height", 0) < 2 * SMALLEST_TILE_PX:
        return False
    for side in ("height", "width"):
        overlap = tiles.get(f"tile_overlap_factor_{side}")
        if overlap is None:
            tiles[f"tile_sample_min_{side}"] //= 2
            tiles[f"tile_sample_stride_{side}"] //= 2
        else:
            _halve_by_share(tiles, side, round(1 / overlap))
    return True


def _halve_by_share(tiles: dict[str, Any], side: str, parts: int) -> None:
    """Halves the tiles of CogVideoX: an overlap is a fraction of a tile, and has to be a whole number of latents."""
    sample_px, latent_px = tiles[f"tile_sample_min_{side}"], tiles[f"tile_latent_min_{side}"]
    halved_px = max(1, latent_px // 2 // parts) * parts
    tiles[f"tile_latent_min_{side}"] = halved_px
    tiles[f"tile_sample_min_{side}"] = halved_px * sample_px // latent_px


def _row(value: Any, row: int, count: int) -> Any:
    has_rows = isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == count
    return value[row : row + 1] if has_rows else value


def _joined(decoded: list[Any]) -> Any:
    """Returns the rows as a batch in the form of the VAE's output: a tuple, or an object with `sample`."""
    if isinstance(decoded[0], tuple):
        return (torch.cat([row[0] for row in decoded]),)
    first = decoded[0]
    first.sample = torch.cat([row.sample for row in decoded])
    return first


def _ignore() -> None:
    pass
