"""The animatic engine: paces the steps like a model would, then draws frames one by one."""

from PIL import Image

from phoenix.contract.resolved import ResolvedClip
from phoenix.engine.backends.animatic.scene import Scene, read_scene
from phoenix.engine.backends.animatic.storyboard import Storyboard, draw_frames
from phoenix.engine.previews import PreviewThrottle, preview_size, to_jpeg
from phoenix.engine.spec import ClipJob, RenderedClip, Watcher
from phoenix.errors import Stage


class AnimaticEngine:
    """Deterministic: the same clip gives the same bytes, whatever the pace, as long as the fonts are the same."""

    def __init__(self, *, seconds_per_step: float = 0, preview_interval_s: float = 0) -> None:
        self._seconds_per_step = seconds_per_step
        self._preview_interval_s = preview_interval_s

    def render(self, job: ClipJob, watcher: Watcher) -> RenderedClip:
        clip = job.clip
        scene = read_scene(clip.prompt, clip.seed)
        pace = PreviewThrottle(self._preview_interval_s)
        watcher.on_stage(Stage.DENOISE)
        for step in range(1, clip.steps + 1):
            watcher.stop.wait(self._seconds_per_step)
            watcher.on_step(step, clip.steps)
            if pace.is_due():
                watcher.on_preview(_sketch(clip, scene, share=step / clip.steps))
        watcher.on_stage(Stage.DECODE)
        return RenderedClip(
            frames=draw_frames(clip, scene, watcher.stop),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            num_frames=clip.num_frames,
        )

    def loaded_models(self) -> tuple[str, ...]:
        """It holds nothing in memory, and is always ready."""
        return ("animatic",)

    def close(self) -> None:
        """There is nothing to release."""


def _sketch(clip: ResolvedClip, scene: Scene, *, share: float) -> bytes:
    """The frame at this fraction of the clip, drawn small."""
    width, height = preview_size(clip.width, clip.height)
    small = clip.model_copy(update={"width": width, "height": height})
    frame = Storyboard(small, scene).draw(round(share * (clip.num_frames - 1)))
    return to_jpeg(Image.frombytes("RGB", (width, height), frame))
