"""Runs one pipeline call for one or more clips, and returns its frames as RGB bytes and its sound as samples."""

import copy
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from phoenix.engine.backends.diffusers.classes.arguments import call_arguments
from phoenix.engine.backends.diffusers.classes.guidance import GUIDERS, set_guidance
from phoenix.engine.backends.diffusers.classes.outputs import OutputAdapter
from phoenix.engine.backends.diffusers.classes.signatures import accepted_names, is_modular
from phoenix.engine.backends.diffusers.decoding.frames import in_chunks, to_frames, to_samples
from phoenix.engine.backends.diffusers.decoding.time_steps import STEADY_AFTER, decodes_in_steps
from phoenix.engine.backends.diffusers.latent_previews import ColourMaps, Previewer
from phoenix.engine.backends.diffusers.modular.loop_reports import report_steps_of
from phoenix.engine.backends.diffusers.modular.offloading import clean_after_call
from phoenix.engine.backends.diffusers.step_callbacks import Call, as_current_call, report_steps
from phoenix.engine.interface import RenderedClip, RenderedSound, RenderRequest, without_traceback
from phoenix.errors import Stage, TaskFailed

SCHEDULERS = ("scheduler", "audio_scheduler")
"""Components with the state of a call. MiniMax H3 has a scheduler for the sound."""


def run_call(pipeline: Any, output: OutputAdapter, call: Call, maps: ColourMaps, *, preview_interval_s: float) -> None:
    """Runs the call. Finishes each of its clips with frames and sound in host memory, or as stopped."""
    clone, started = clone_for_call(pipeline), list(call.rows)
    previewer = Previewer(maps, clone, call, interval_s=preview_interval_s)
    take = partial(_take, call, previewer)
    is_in_steps = decodes_in_steps(clone)
    call.enter(Stage.TEXT)
    with as_current_call(call, take=take if is_in_steps else None):
        made = _run(clone, call, previewer)
    call.enter(Stage.DECODE)
    if not is_in_steps:
        videos = output.videos(made, call.rows[0].clip.num_frames)
        sounds = _sounds_by_request(output, made, started)
        for request, video in zip(call.rows, videos, strict=True):
            take(request, in_chunks(video, request.clip))
            _finish(request, call, sounds.get(request))
    else:
        for request in call.rows:
            _finish(request, call, None)


def _take(call: Call, previewer: Previewer, request: RenderRequest, chunks: Iterable[torch.Tensor]) -> None:
    """Takes the frames of one clip. Lets the encoder have them as soon as the decode has shown that it fits in memory.

    Returns early if the clip was stopped. Finishes the request if the frames are unusable: others may be usable.
    """
    request.frames.restart()
    try:
        for step, made in enumerate(to_frames(previewer.watch(request, chunks), request.clip), start=1):
            call.check()
            if request.is_stopped:
                return
            request.frames.add(made)
            if step == STEADY_AFTER and call.take is not None:
                request.hand_over(_rendered(request, call))
        previewer.learn(request)
        if call.take is not None:
            # Now, although the others are still to be decoded: the encoder waits for the end of the frames.
            _finish(request, call, None)
    except TaskFailed as failed:
        request.finish(without_traceback(failed))


@dataclass(frozen=True)
class _Sound:
    """The sound of one clip on the device: `[channels, samples]`."""

    values: torch.Tensor
    rate_hz: int


def _sounds_by_request(
    output: OutputAdapter, made: Any, started: Sequence[RenderRequest]
) -> dict[RenderRequest, _Sound]:
    """Returns the sound of each clip with which the call started; empty if the pipeline made none.

    The frames of clips that were stopped during the call are left out of its output, and their sound is not.
    """
    sounds, rate_hz = output.sounds(made), output.sound_rate_hz
    if sounds is None or rate_hz is None:
        return {}
    return {request: _Sound(values, rate_hz) for request, values in zip(started, sounds, strict=True)}


def _run(pipeline: Any, call: Call, previewer: Previewer) -> Any:
    """Returns the output of the pipeline, with tensors on the device."""
    all_inputs = [request.inputs for request in call.rows]
    clip = all_inputs[0].clip
    set_guidance(pipeline, clip.guidance_scale, call.model.options)
    arguments = call_arguments(pipeline, *all_inputs)
    clean = partial(clean_after_call, pipeline)
    if is_modular(pipeline.__class__):
        report_steps_of(pipeline, call, steps=clip.steps, show=previewer.show)
    else:
        has_callback = "callback_on_step_end" in accepted_names(pipeline.__class__)
        arguments |= report_steps(pipeline, call, steps=clip.steps, has_callback=has_callback, show=previewer.show)
        clean = pipeline.maybe_free_model_hooks
    # Always on the CPU, so that a seed gives the same clip on every machine; one generator per clip, so that the other
    # clips of the call do not change it.
    generators = [torch.Generator("cpu").manual_seed(inputs.clip.seed) for inputs in all_inputs]
    with ExitStack() as after:
        # The pipeline skips this when the call is stopped, and the next call would find dirty caches.
        after.callback(clean)
        return pipeline(**arguments, generator=generators if len(all_inputs) > 1 else generators[0])


def _finish(request: RenderRequest, call: Call, sound: _Sound | None) -> None:
    if request.is_stopped:
        request.finish_stopped()
    if request.is_finished:
        return
    try:
        samples = to_samples(sound.values, sound.rate_hz) if sound and request.clip.keeps_sound else None
    except TaskFailed as failed:
        # Only this clip failed: the other clips of the call may be usable.
        request.finish(without_traceback(failed))
        return
    request.frames.peak_memory_bytes = call.read_peak()
    request.finish(_rendered(request, call, samples))


def _rendered(request: RenderRequest, call: Call, sound: RenderedSound | None = None) -> RenderedClip:
    clip = request.clip
    return RenderedClip(
        frames=request.frames,
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
        num_frames=clip.num_frames,
        sound=sound,
        batch_size=call.batch_size,
        warnings=call.warnings_of(request),
    )


def clone_for_call(pipeline: Any) -> Any:
    """Returns a pipeline object for one call, with the same weights and another scheduler. Takes 0.3 ms.

    `copy.copy`, because `type(p)(**p.components)` drops the configuration (Wan 2.2 would never use its second expert)
    and `from_pipe` casts the shared weights to float32 in place.
    """
    clone = copy.copy(pipeline)
    for name in SCHEDULERS:
        scheduler = getattr(pipeline, name, None)
        if scheduler is not None:
            setattr(clone, name, scheduler.__class__.from_config(scheduler.config))
    for name in GUIDERS:
        guider = getattr(pipeline, name, None)
        if guider is not None:
            setattr(clone, name, copy.deepcopy(guider))
    return clone
