"""Converts videos on the device to frames in host memory, chunk by chunk, and the sound of a clip to samples."""

from collections.abc import Iterable, Iterator

import torch

from phoenix.contract import ResolvedClip
from phoenix.engine.frame_stream import Frame
from phoenix.engine.interface import RenderedSound
from phoenix.errors import FailureCode, Stage, TaskFailed

CHUNK_FRAMES = 8
"""Frames of a whole video that are converted at a time: enough to make a wait per chunk cheap, few in memory."""


def to_frames(chunks: Iterable[torch.Tensor], clip: ResolvedClip) -> Iterator[list[Frame]]:
    """Yields the frames of each chunk: a tensor `[frames, 3, height, width]` with values from 0 to 1.

    A chunk is waited for after the next one is under way, so that the device does not wait for the host meanwhile.
    Raises `TaskFailed` if the chunks have another shape than the clip, or values that are not numbers: a pipeline may
    round the number of frames, and weights in the wrong precision give NaN, which would be encoded as black.
    """
    made, waiting = 0, None
    for chunk in chunks:
        made += len(chunk)
        if tuple(chunk.shape[1:]) != (3, clip.height, clip.width) or made > clip.num_frames:
            raise _unlike(clip, f"{made} frames of {chunk.shape[3]}x{chunk.shape[2]}")
        copy = _HostCopy(chunk)
        if waiting is not None:
            yield waiting.frames()
        waiting = copy
    if waiting is None or made < clip.num_frames:
        raise _unlike(clip, f"{made} frames of {clip.width}x{clip.height}")
    yield waiting.frames()


def in_chunks(video: torch.Tensor, clip: ResolvedClip) -> Iterator[torch.Tensor]:
    """Splits a whole video. Raises `TaskFailed` if it has another shape than the clip."""
    if video.dim() != 4:
        raise _unlike(clip, f"a tensor of {video.dim()} dimensions")
    if tuple(video.shape) != (clip.num_frames, 3, clip.height, clip.width):
        raise _unlike(clip, f"{len(video)} frames of {video.shape[3]}x{video.shape[2]}")
    yield from split(video)


def split(video: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields a video `[frames, ...]` in chunks, which are views of it."""
    for start in range(0, len(video), CHUNK_FRAMES):
        yield video[start : start + CHUNK_FRAMES]


def to_samples(sound: torch.Tensor, rate_hz: int) -> RenderedSound:
    """Converts a tensor `[channels, samples]` with values from -1 to 1 to samples in host memory.

    Raises `TaskFailed` if the tensor has other dimensions, or values that are not numbers.
    """
    if sound.dim() != 2:
        raise _broken(f"the pipeline made sound of {sound.dim()} dimensions, not channels and samples")
    if not bool(sound.isfinite().all()):
        raise _broken("the pipeline made sound of values that are not numbers; try dtype float32 for the model")
    samples = sound.float().clamp(-1, 1).T.contiguous().cpu().numpy().astype("<f4")
    return RenderedSound(samples.tobytes(), channels=sound.shape[0], rate_hz=rate_hz)


class _HostCopy:
    """The bytes of a chunk, on their way to host memory. The device works meanwhile, until `frames` is called."""

    def __init__(self, chunk: torch.Tensor) -> None:
        pixels = chunk.float().clamp(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        # The sum is not finite if one value is not: it takes one pass, and `isfinite().all()` takes four.
        self._pixels, self._is_finite = _to_host(pixels), _to_host(chunk.sum(dtype=torch.float32).isfinite())
        self._arrived = None
        if chunk.is_cuda:
            self._arrived = torch.cuda.Event(blocking=True)
            self._arrived.record()

    def frames(self) -> list[Frame]:
        if self._arrived is not None:
            self._arrived.synchronize()
        if not bool(self._is_finite):
            raise _broken("the pipeline made values that are not numbers; try dtype float32 for the model or its VAE")
        # Copies, because the encoder may be slow: page-locked memory is scarce, and is used again for the next chunk.
        return [frame.tobytes() for frame in self._pixels.numpy()]


def _to_host(values: torch.Tensor) -> torch.Tensor:
    """Begins a copy to page-locked memory, which does not stop the device. Returns the same tensor on a CPU."""
    if not values.is_cuda:
        return values
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)


def _unlike(clip: ResolvedClip, found: str) -> TaskFailed:
    requested = f"{clip.num_frames} frames of {clip.width}x{clip.height}"
    return _broken(f"the pipeline made {found} where {requested} was asked for")


def _broken(reason: str) -> TaskFailed:
    return TaskFailed(FailureCode.ENGINE_FAILED, reason, stage=Stage.DECODE)
