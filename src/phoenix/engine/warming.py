"""Warms a model up with a trial clip of its default size and length, in as few steps as possible."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from phoenix.catalog.model import ModelSpec
from phoenix.catalog.sizes import fit_size
from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.registry import Engines
from phoenix.engine.spec import ClipJob, Unwatched
from phoenix.engine.stopping import StopToken


def warm_up(engines: Engines, model: ModelSpec, stop: StopToken) -> None:
    """Loads the model and renders a trial clip, so that the first client need not wait for either.

    Whatever is compiled or measured per shape is done for the default shape. Raises `TaskFailed` or `RenderStopped`.
    """
    clip = trial_clip(model)
    with ExitStack() as folder:
        image = _blank(folder.enter_context(TemporaryDirectory()), clip) if model.needs_image else None
        engines.render(ClipJob(clip, model, image), Unwatched(stop))


def trial_clip(model: ModelSpec) -> ResolvedClip:
    size = fit_size(model.size, model.size.default_resolution, model.size.default_aspect_ratio)
    return ResolvedClip(
        index=0,
        prompt="a red balloon over a harbour at dawn",
        seed=0,
        steps=model.steps.minimum,
        guidance_scale=model.guidance_scale.default,
        width=size.width,
        height=size.height,
        fps=model.fps.default,
        num_frames=model.frames.default,
        deterministic=True,
    )


def _blank(folder: str, clip: ResolvedClip) -> Path:
    path = Path(folder, "first.png")
    Image.new("RGB", (clip.width, clip.height), "grey").save(path)
    return path
