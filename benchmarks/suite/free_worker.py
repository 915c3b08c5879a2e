"""A worker process whose engine costs nothing: what is left is the work of Phoenix for a clip.

    python free_worker.py --queue gpu --device cpu

The frames are grey. ffmpeg encodes them in a process of its own, which is charged to nobody.
"""

import sys
from itertools import repeat

from phoenix.engine.backends.animatic import engine
from phoenix.engine.interface import ClipInputs, RenderedClip, RenderObserver
from phoenix.errors import Stage
from phoenix.worker.main import main


class FreeEngine(engine.AnimaticEngine):
    """Makes frames without drawing them."""

    def render(self, inputs: ClipInputs, observer: RenderObserver) -> RenderedClip:
        clip = inputs.clip
        observer.on_stage(Stage.DENOISE)
        for step in range(1, clip.steps + 1):
            observer.on_step(step, clip.steps)
        observer.on_stage(Stage.DECODE)
        frame = b"\x80" * (clip.width * clip.height * 3)
        return RenderedClip(
            frames=iter(list(repeat(frame, clip.num_frames))),
            width=clip.width,
            height=clip.height,
            fps=clip.fps,
            num_frames=clip.num_frames,
        )


if __name__ == "__main__":
    # The registry imports the class when the first clip comes.
    engine.AnimaticEngine = FreeEngine
    sys.exit(main())
